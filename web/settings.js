// What a person may set; kept in the browser.
import {element} from './dom.js';
import {languages, say} from './strings.js';

const kKey = 's3d.settings';
const kNumbers = ['temperature', 'top_p', 'top_k', 'min_p', 'max_tokens', 'seed'];

const defaults = {language: 'auto', theme: 'auto', showTokens: true, system: '', apiKey: '',
  temperature: '', top_p: '', top_k: '', min_p: '', max_tokens: '', seed: ''};

export class Settings {
  constructor(storage, onChange) {
    this.storage = storage;
    this.onChange = onChange;
    this.values = {...defaults, ...this.read()};
  }

  read() {
    try {
      return JSON.parse(this.storage.getItem(kKey) ?? '{}');
    } catch {
      return {};
    }
  }

  set(name, value) {
    this.values[name] = value;
    try {
      this.storage.setItem(kKey, JSON.stringify(this.values));
    } catch { /* lasts as long as the page, then */ }
    this.onChange(name);
  }

  // The fields of a request: what was left empty is the server's own.
  request() {
    const out = {};
    for (const name of kNumbers) {
      const value = Number(this.values[name]);
      if (this.values[name] !== '' && Number.isFinite(value)) out[name] = value;
    }
    return out;
  }

  fields() {
    const choice = (name, label, options) => this.field(label, element('select', {onchange: (e) => this.set(name, e.target.value)},
      ...Object.entries(options).map(([value, text]) => element('option', {value, selected: this.values[name] === value}, text))));
    const figure = (name, label, step) => this.field(label, element('input', {type: 'number', step, min: '0', value: this.values[name],
      onchange: (e) => this.set(name, e.target.value)}));
    const tick = element('input', {type: 'checkbox', checked: this.values.showTokens, onchange: (e) => this.set('showTokens', e.target.checked)});
    const system = element('textarea', {rows: '3', onchange: (e) => this.set('system', e.target.value)}, this.values.system);
    const key = element('input', {type: 'password', autocomplete: 'off', value: this.values.apiKey, onchange: (e) => this.set('apiKey', e.target.value.trim())});
    return [this.field('showTokens', tick), this.field('systemPrompt', system),
      figure('temperature', 'temperature', '0.1'), figure('top_p', 'topP', '0.05'), figure('top_k', 'topK', '1'),
      figure('min_p', 'minP', '0.01'), figure('max_tokens', 'maxTokens', '1'), figure('seed', 'seed', '1'),
      this.field('apiKey', key), choice('language', 'language', {auto: say('auto'), ...languages}),
      choice('theme', 'theme', {auto: say('auto'), light: say('light'), dark: say('dark')})];
  }

  field(label, input) {
    return element('label', {}, element('span', {}, say(label)), input);
  }
}
