// The page: conversations on the left, messages in the middle, one question at the bottom.
import {AnswerView} from './answer.js';
import {Client} from './client.js';
import {byId, element} from './dom.js';
import {ServerTab} from './server_tab.js';
import {Settings} from './settings.js';
import {Store} from './store.js';
import {say, translate, useLanguage} from './strings.js';

// A browser without storage still chats.
function storageOrMemory() {
  try {
    localStorage.setItem('s3d.try', '1');
    return localStorage;
  } catch {
    const kept = new Map();
    return {getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value)};
  }
}

const kTitleLength = 48;

class Page {
  constructor() {
    const storage = storageOrMemory();
    this.settings = new Settings(storage, (name) => this.settingChanged(name));
    this.store = new Store(storage, () => this.notice(say('noStorage')));
    this.client = new Client(() => this.settings.values.apiKey);
    this.server = new ServerTab(byId('server'), this.client);
    this.current = this.store.conversations[0] ?? null;
    this.running = null;  // {controller, message, view} of the answer that is coming
    this.applyLook();
    this.listen();
    this.draw();
    this.loadModels();
  }

  // ---- Look ------------------------------------------------------------------------------------------------------

  applyLook() {
    useLanguage(this.settings.values.language);
    document.documentElement.dataset.theme = this.settings.values.theme;
    translate();
  }

  settingChanged(name) {
    if (name === 'apiKey') this.loadModels();
    if (['language', 'theme', 'showTokens'].includes(name)) {
      this.applyLook();
      this.draw();
    }
    if (name === 'language') byId('fields').replaceChildren(...this.settings.fields());
  }

  notice(text) {
    byId('notice').textContent = text;
    byId('notice').hidden = text === '';
  }

  // Waits for a model that is still loading.
  async loadModels() {
    try {
      const models = await this.client.models();
      byId('model').replaceChildren(...models.map((id) => element('option', {value: id}, id)));
      this.notice('');
    } catch (error) {
      this.notice(/load/i.test(error.message) ? say('loading') : say('failed') + error.message);
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.loadModels(), 1500);
    }
  }

  draw() {
    this.drawConversations();
    this.drawMessages();
  }

  drawConversations() {
    byId('conversations').replaceChildren(...this.store.conversations.map((conversation) => {
      const open = element('button', {class: 'open', 'aria-current': conversation === this.current ? 'true' : null,
        onclick: () => this.open(conversation)}, conversation.title || say('untitled'));
      return element('li', {}, open,
        element('button', {class: 'quiet', title: say('rename'), 'aria-label': say('rename'), onclick: () => this.rename(conversation)}, '✎'),
        element('button', {class: 'quiet', title: say('exportOne'), 'aria-label': say('exportOne'), onclick: () => this.download([conversation])}, '⇩'),
        element('button', {class: 'quiet', title: say('remove'), 'aria-label': say('remove'), onclick: () => this.remove(conversation)}, '✕'));
    }));
  }

  drawMessages() {
    const messages = this.current?.messages ?? [];
    const nodes = messages.map((message, i) => this.messageNode(message, i));
    byId('messages').replaceChildren(...(nodes.length ? nodes : [element('p', {class: 'note empty'}, say('empty'))]));
    this.toEnd(true);
  }

  messageNode(message, index) {
    const buttons = element('div', {class: 'buttons'});
    const add = (key, action) => buttons.append(element('button', {class: 'quiet', type: 'button', onclick: action}, say(key)));
    const article = element('article', {class: message.role, 'aria-label': say(message.role === 'user' ? 'you' : 'assistant')});
    if (message.role === 'user') {
      article.append(element('div', {class: 'body plain'}, message.content), buttons);
      add('edit', () => this.edit(article, index));
    } else {
      const view = new AnswerView(message, (text, button) => this.copy(text, button), this.settings.values.showTokens);
      if (this.running?.message === message) this.running.view = view;
      article.append(view.node);
      if (message.reason) article.append(element('p', {class: 'note reason'}, message.reason));
      article.append(buttons);
      add(view.showTokens ? 'formatted' : 'tokens', (event) => {
        view.setShowTokens(!view.showTokens);
        event.target.textContent = say(view.showTokens ? 'formatted' : 'tokens');
      });
      add('again', () => this.answerAgain(index));
    }
    add('copy', (event) => this.copy(message.content, event.target));
    return article;
  }

  toEnd(always = false) {
    const log = byId('messages');
    if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
  }

  async copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // pages that are not served by https have no clipboard of their own
      const area = element('textarea', {}, text);
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    const mark = button.textContent;
    button.textContent = say('copied');
    setTimeout(() => { button.textContent = mark; }, 900);
  }

  // ---- Conversations ---------------------------------------------------------------------------------------------

  open(conversation) {
    this.stop();
    this.current = conversation;
    this.showMenu(false);
    this.showTab('chat');
    this.draw();
    byId('question').focus();
  }

  rename(conversation) {
    const title = prompt(say('askName'), conversation.title);
    if (title === null) return;
    conversation.title = title.trim();
    this.store.save();
    this.drawConversations();
  }

  remove(conversation) {
    if (!confirm(say('askRemove'))) return;
    if (conversation === this.current) {
      this.stop();
      this.current = null;
    }
    this.store.remove(conversation);
    this.draw();
  }

  download(conversations) {
    const url = URL.createObjectURL(new Blob([this.store.exportText(conversations)], {type: 'application/json'}));
    element('a', {href: url, download: 's3d-conversations.json'}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  async importFile(file) {
    if (!file) return;
    const good = this.store.importText(await file.text());
    this.notice(good ? '' : say('badImport'));
    this.draw();
  }

  // ---- Questions and answers -------------------------------------------------------------------------------------

  ask(text) {
    if (text.trim() === '' || this.running) return;
    if (!this.current) this.current = this.store.create();
    if (!this.current.title) this.current.title = text.trim().split('\n')[0].slice(0, kTitleLength);
    this.current.messages.push({role: 'user', content: text});
    this.answer();
  }

  edit(article, index) {
    if (this.running) return;
    const area = element('textarea', {rows: '4', 'aria-label': say('question')}, this.current.messages[index].content);
    const send = () => {
      this.current.messages.length = index;
      this.ask(area.value);
    };
    article.replaceChildren(area, element('div', {class: 'row'},
      element('button', {type: 'button', onclick: send}, say('save')),
      element('button', {class: 'quiet', type: 'button', onclick: () => this.drawMessages()}, say('cancel'))));
    area.focus();
  }

  answerAgain(index) {
    if (this.running) return;
    this.current.messages.length = index;
    this.answer();
  }

  // Answers the last message of the conversation that is open.
  async answer() {
    const conversation = this.current;
    const system = this.settings.values.system.trim();
    const sent = conversation.messages.map(({role, content}) => ({role, content}));
    const body = {model: byId('model').value || undefined, ...this.settings.request(),
      messages: system ? [{role: 'system', content: system}, ...sent] : sent};
    const message = {role: 'assistant', content: '', reasoning: '', tokens: []};
    conversation.messages.push(message);
    const running = {controller: new AbortController(), message, view: null, drawn: true};
    this.running = running;
    this.notice('');
    this.setRunning(true);
    this.draw();
    try {
      for await (const chunk of this.client.chat(body, running.controller.signal)) {
        takeChunk(message, chunk);
        this.drawSoon(running);
      }
      if (message.finish === 'length') message.reason = say('cutOff');
    } catch (error) {
      if (error.name === 'AbortError') message.reason = say('stopped');
      else this.fail(conversation, message, error);
    }
    this.running = null;
    this.setRunning(false);
    this.store.touch(conversation);
    this.draw();
  }

  // An answer that never began leaves nothing behind.
  fail(conversation, message, error) {
    this.notice(say('failed') + error.message);
    if (message.content === '' && message.reasoning === '') conversation.messages.pop();
    else message.reason = say('failed') + error.message;
  }

  // At most once a frame, however fast tokens come.
  drawSoon(running) {
    if (!running.drawn) return;
    running.drawn = false;
    requestAnimationFrame(() => {
      running.drawn = true;
      running.view?.update();
      this.toEnd();
    });
  }

  stop() {
    this.running?.controller.abort();
  }

  setRunning(on) {
    byId('send').hidden = on;
    byId('stop').hidden = !on;
    byId('messages').setAttribute('aria-busy', String(on));
  }

  // ---- Events ----------------------------------------------------------------------------------------------------

  showTab(name) {
    for (const tab of ['chat', 'server']) {
      byId(tab).hidden = tab !== name;
      byId(`tab-${tab}`).setAttribute('aria-selected', String(tab === name));
    }
    this.server.show(name === 'server');
  }

  showMenu(on) {
    document.body.classList.toggle('menu', on);
    byId('menu').setAttribute('aria-expanded', String(on));
  }

  sendQuestion() {
    const question = byId('question');
    const text = question.value;
    if (text.trim() === '' || this.running) return;
    question.value = '';
    this.fitQuestion();
    this.ask(text);
  }

  fitQuestion() {
    const question = byId('question');
    question.style.height = 'auto';
    question.style.height = `${Math.min(question.scrollHeight, 240)}px`;
  }

  newConversation() {
    this.open(null);
  }

  editLast() {
    const last = this.current?.messages.findLastIndex((message) => message.role === 'user') ?? -1;
    if (last >= 0) this.edit(byId('messages').children[last], last);
  }

  questionKey(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.sendQuestion();
    } else if (event.key === 'ArrowUp' && event.target.value === '') {
      event.preventDefault();
      this.editLast();
    }
  }

  listen() {
    const on = (id, name, action) => byId(id).addEventListener(name, action);
    on('composer', 'submit', (event) => { event.preventDefault(); this.sendQuestion(); });
    on('question', 'keydown', (event) => this.questionKey(event));
    on('question', 'input', () => this.fitQuestion());
    on('stop', 'click', () => this.stop());
    on('new', 'click', () => this.newConversation());
    on('menu', 'click', () => this.showMenu(!document.body.classList.contains('menu')));
    on('tab-chat', 'click', () => this.showTab('chat'));
    on('tab-server', 'click', () => this.showTab('server'));
    on('export', 'click', () => this.download(this.store.conversations));
    on('import', 'click', () => byId('import-file').click());
    on('import-file', 'change', (event) => this.importFile(event.target.files[0]));
    on('open-settings', 'click', () => {
      byId('fields').replaceChildren(...this.settings.fields());
      byId('settings').showModal();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !byId('settings').open) this.stop();
      if (event.key.toLowerCase() === 'o' && event.shiftKey && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.newConversation();
      }
    });
  }
}

// Adds what a chunk of the stream brings to the message.
function takeChunk(message, chunk) {
  const choice = chunk.choices?.[0];
  message.content += choice?.delta?.content ?? '';
  message.reasoning += choice?.delta?.reasoning_content ?? '';
  if (choice?.finish_reason) message.finish = choice.finish_reason;
  message.tokens.push(...(chunk.s3d?.tokens ?? []));
  const stats = {timings: chunk.timings, spec: chunk.metrics?.speculative_decoding, plain: chunk.s3d?.plain_tokens_per_second};
  for (const [name, value] of Object.entries(stats)) {
    if (value !== undefined) message.stats = {...message.stats, [name]: value};
  }
}

window.s3d = new Page();
