// What the page says, in English and German. A new language is one more object with the same keys.

const strings = {
  en: {
    chat: 'Chat', server: 'Server', settings: 'Settings', close: 'Close', model: 'Model',
    conversations: 'Conversations', newConversation: 'New conversation', untitled: 'New conversation',
    rename: 'Rename', remove: 'Delete', exportOne: 'Export', exportAll: 'Export all', importAll: 'Import',
    askRemove: 'Delete this conversation?', askName: 'Name of the conversation',
    question: 'Your message', questionHint: 'Ask something',
    send: 'Send', stop: 'Stop', edit: 'Edit', again: 'Answer again', copy: 'Copy', copied: 'Copied',
    you: 'You', assistant: 'Answer', thoughts: 'Thoughts', tokens: 'Who made it', formatted: 'Formatted',
    save: 'Send again', cancel: 'Cancel', stopped: 'Stopped.', cutOff: 'The answer reached its length limit.',
    empty: 'Each token of an answer shows who made it: the model itself, or a draft that the model confirmed.',
    failed: 'The server did not answer: ', noStorage: 'The browser does not keep conversations here.',
    badImport: 'This file holds no conversations of this page.',
    systemPrompt: 'System prompt', temperature: 'Temperature (0: always the most likely token)',
    topP: 'Top-p', topK: 'Top-k (0: off)', minP: 'Min-p', maxTokens: 'Longest answer in tokens (empty: no limit)',
    seed: 'Seed (the same seed gives the same text)', apiKey: 'API key', language: 'Language', theme: 'Colours',
    showTokens: 'Colour tokens by who made them', auto: 'as the system', light: 'light', dark: 'dark',
    keys: 'Keys: Enter sends, Shift+Enter starts a new line, Esc stops, Ctrl+Shift+O starts a conversation, Arrow up edits the last question.',
    speed: '{n} tokens/s', against: '{n} times plain decoding', perPass: '{n} tokens a pass', cached: '{n} tokens of the prompt from the cache',
    drafted: 'drafts right: {n} %', promptTime: 'prompt in {n} s',
    origin: 'made by {s}', originTarget: 'made by the model itself', target: 'model', depth: 'draft depth {n}',
    chance: 'its drafter gave it {n} %', roundStrip: 'Rounds: each bar is one pass; its height is what was drafted, the filled part what was right.',
    running: 'Running', waiting: 'Waiting', kvUse: 'KV cache in use', served: 'Tokens generated', rate: 'Tokens/s, last seconds',
    acceptance: 'Drafted tokens that were right', perRound: 'Tokens a pass', rows: 'Rows of the last pass', cacheHits: 'Prompt tokens from the cache',
    context: 'Context', loading: 'The model is loading …', noMetrics: 'This server shows no figures.', slot: 'Slot', state: 'State',
    idle: 'idle', busy: 'busy', byDepth: 'Right by draft depth',
  },
  de: {
    chat: 'Gespräch', server: 'Server', settings: 'Einstellungen', close: 'Schließen', model: 'Modell',
    conversations: 'Gespräche', newConversation: 'Neues Gespräch', untitled: 'Neues Gespräch',
    rename: 'Umbenennen', remove: 'Löschen', exportOne: 'Sichern', exportAll: 'Alle sichern', importAll: 'Laden',
    askRemove: 'Dieses Gespräch löschen?', askName: 'Name des Gesprächs',
    question: 'Ihre Nachricht', questionHint: 'Fragen Sie etwas',
    send: 'Senden', stop: 'Halt', edit: 'Ändern', again: 'Neu antworten', copy: 'Kopieren', copied: 'Kopiert',
    you: 'Sie', assistant: 'Antwort', thoughts: 'Gedanken', tokens: 'Wer es schrieb', formatted: 'Formatiert',
    save: 'Neu senden', cancel: 'Abbrechen', stopped: 'Angehalten.', cutOff: 'Die Antwort erreichte ihre Höchstlänge.',
    empty: 'Jedes Token einer Antwort zeigt, wer es gemacht hat: das Modell selbst oder ein Entwurf, den das Modell bestätigt hat.',
    failed: 'Der Server hat nicht geantwortet: ', noStorage: 'Der Browser bewahrt hier keine Gespräche auf.',
    badImport: 'Diese Datei enthält keine Gespräche dieser Seite.',
    systemPrompt: 'Systemanweisung', temperature: 'Temperatur (0: immer das wahrscheinlichste Token)',
    topP: 'Top-p', topK: 'Top-k (0: aus)', minP: 'Min-p', maxTokens: 'Längste Antwort in Tokens (leer: ohne Grenze)',
    seed: 'Startwert (derselbe ergibt denselben Text)', apiKey: 'API-Schlüssel', language: 'Sprache', theme: 'Farben',
    showTokens: 'Tokens nach Herkunft färben', auto: 'wie das System', light: 'hell', dark: 'dunkel',
    keys: 'Tasten: Enter sendet, Umschalt+Enter beginnt eine Zeile, Esc hält an, Strg+Umschalt+O beginnt ein Gespräch, Pfeil hoch ändert die letzte Frage.',
    speed: '{n} Tokens/s', against: '{n}-mal so schnell wie ohne Entwürfe', perPass: '{n} Tokens je Durchlauf', cached: '{n} Tokens der Eingabe aus dem Speicher',
    drafted: 'Entwürfe richtig: {n} %', promptTime: 'Eingabe in {n} s',
    origin: 'von {s}', originTarget: 'vom Modell selbst', target: 'Modell', depth: 'Entwurfstiefe {n}',
    chance: 'sein Entwurf gab ihm {n} %', roundStrip: 'Runden: jeder Balken ist ein Durchlauf; die Höhe ist, was entworfen wurde, der gefüllte Teil, was richtig war.',
    running: 'Laufend', waiting: 'Wartend', kvUse: 'KV-Speicher belegt', served: 'Erzeugte Tokens', rate: 'Tokens/s, letzte Sekunden',
    acceptance: 'Entworfene Tokens, die richtig waren', perRound: 'Tokens je Durchlauf', rows: 'Zeilen des letzten Durchlaufs', cacheHits: 'Eingabe-Tokens aus dem Speicher',
    context: 'Kontext', loading: 'Das Modell wird geladen …', noMetrics: 'Dieser Server zeigt keine Zahlen.', slot: 'Platz', state: 'Zustand',
    idle: 'frei', busy: 'belegt', byDepth: 'Richtig nach Entwurfstiefe',
  },
};

let language = 'en';

export const languages = {en: 'English', de: 'Deutsch'};

// `wanted`: a key of `languages`, or anything else for the browser's own language.
export function useLanguage(wanted) {
  const browser = (navigator.language || 'en').slice(0, 2);
  language = strings[wanted] ? wanted : strings[browser] ? browser : 'en';
  document.documentElement.lang = language;
}

export function say(key, values = {}) {
  const text = strings[language][key] ?? key;
  return text.replace(/\{(\w)\}/g, (whole, name) => values[name] ?? whole);
}

export function number(value, digits = 0) {
  return value.toLocaleString(language, {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

// Fills the texts of all elements that name one.
export function translate(root = document) {
  for (const node of root.querySelectorAll('[data-text]')) node.textContent = say(node.dataset.text);
  for (const node of root.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', say(node.dataset.label));
    node.title = say(node.dataset.label);
  }
  for (const node of root.querySelectorAll('[data-placeholder]')) node.placeholder = say(node.dataset.placeholder);
}

// For tests: every language says the same things.
export const allStrings = strings;
