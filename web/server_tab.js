// The tab that shows what the server does, from its own figures (/metrics, /slots, /props).
import {samples} from './client.js';
import {element} from './dom.js';
import {number, say} from './strings.js';

const kPeriod = 1500;  // milliseconds between questions

export class ServerTab {
  constructor(root, client) {
    this.root = root;
    this.client = client;
    this.timer = null;
    this.last = null;  // {time, tokens} of the question before
  }

  show(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (!on) return;
    this.refresh();
    this.timer = setInterval(() => this.refresh(), kPeriod);
  }

  async refresh() {
    const [metrics, slots] = await Promise.all([this.ask('metrics'), this.ask('slots')]);
    const parts = [];
    if (metrics !== null) parts.push(this.figures(samples(metrics)));
    if (slots !== null) parts.push(slotTable(JSON.parse(slots)));
    this.root.replaceChildren(...(parts.length ? parts : [element('p', {class: 'note'}, say('noMetrics'))]));
  }

  async ask(path) {
    try {
      return await this.client.get(path);
    } catch {
      return null;
    }
  }

  figures(found) {
    const tokens = found.get('vllm:generation_tokens_total') ?? found.get('llamacpp:tokens_predicted_total');
    const now = performance.now();
    const rate = this.last && tokens !== undefined ? (tokens - this.last.tokens) / ((now - this.last.time) / 1000) : undefined;
    this.last = {time: now, tokens};
    const drafted = found.get('vllm:spec_decode_num_draft_tokens_total');
    const accepted = found.get('vllm:spec_decode_num_accepted_tokens_total');
    const rounds = found.get('vllm:spec_decode_num_drafts_total');
    const kv = found.get('vllm:kv_cache_usage_perc') ?? found.get('llamacpp:kv_cache_usage_ratio');
    const rows = [
      ['running', found.get('vllm:num_requests_running') ?? found.get('llamacpp:requests_processing')],
      ['waiting', found.get('vllm:num_requests_waiting') ?? found.get('llamacpp:requests_deferred')],
      ['rate', rate, 1],
      ['served', tokens],
      ['kvUse', kv === undefined ? undefined : 100 * kv, 0, ' %'],
      ['acceptance', drafted > 0 ? 100 * accepted / drafted : undefined, 0, ' %'],
      ['perRound', rounds > 0 ? 1 + accepted / rounds : undefined, 2],
      ['cacheHits', found.get('vllm:prefix_cache_hits_total')],
      ['rows', found.get('s3d:last_pass_rows')],
    ];
    const shown = rows.filter(([, value]) => value !== undefined && Number.isFinite(value));
    return element('dl', {class: 'figures'}, ...shown.map(([name, value, digits = 0, unit = '']) =>
      element('div', {}, element('dt', {}, say(name)), element('dd', {}, number(value, digits) + unit))));
  }
}

function slotTable(slots) {
  if (!Array.isArray(slots) || slots.length === 0) return element('span');
  const head = element('tr', {}, ...['slot', 'state', 'context'].map((name) => element('th', {}, say(name))));
  const row = (slot) => element('tr', {}, element('td', {}, String(slot.id)),
    element('td', {}, say(slot.is_processing ? 'busy' : 'idle')), element('td', {}, String(slot.n_ctx ?? '')));
  return element('table', {}, element('thead', {}, head), element('tbody', {}, ...slots.map(row)));
}
