// One answer on the page: formatted, or token by token with who made each; the strip of its rounds; its figures.
import {element} from './dom.js';
import {blocks, renderBlock} from './markdown.js';
import {number, say} from './strings.js';

// Drafters by the colour classes of the style sheet.
const kKnownSources = ['s3d', 'fused', 'suffix', 'lookup', 'layerskip', 'model', 'grammar', 'prediction'];

// Who made a token: a drafter's name, or 'target'.
const sourceOf = (token) => token.source || 'target';

const percent = (share) => number(100 * share);

export class AnswerView {
  // `message` may still grow: call update() then. `copy(text, button)` puts a text on the clipboard.
  constructor(message, copy, showTokens) {
    this.message = message;
    this.copy = copy;
    this.showTokens = showTokens;
    this.shown = [];  // [{source, node}] blocks on the page
    this.thoughts = element('details', {class: 'thoughts', hidden: true}, element('summary', {}, say('thoughts')), element('div'));
    this.body = element('div', {class: 'body'});
    this.strip = element('div', {class: 'strip', hidden: true, title: say('roundStrip')});
    this.figures = element('p', {class: 'note figures'});
    this.legend = element('p', {class: 'note legend', hidden: true});
    this.node = element('div', {}, this.thoughts, this.body, this.legend, this.strip, this.figures);
    this.nShownTokens = 0;
    this.update();
  }

  update() {
    this.updateThoughts();
    if (this.showTokens && this.message.tokens?.length) this.updateTokens();
    else this.updateBlocks();
    this.updateLegend();
    this.updateStrip();
    this.figures.textContent = figuresOf(this.message.stats).join(' · ');
  }

  setShowTokens(on) {
    this.showTokens = on;
    this.body.replaceChildren();
    this.shown = [];
    this.nShownTokens = 0;
    this.update();
  }

  updateThoughts() {
    const text = this.message.reasoning ?? '';
    this.thoughts.hidden = text === '';
    if (text) this.thoughts.lastChild.textContent = text;
  }

  // Only the blocks that changed are made again: while text streams in, that is the last one.
  updateBlocks() {
    const wanted = blocks(this.message.content);
    wanted.forEach((block, i) => {
      const source = JSON.stringify(block);
      if (this.shown[i]?.source === source) return;
      const node = renderBlock(block, this.copy);
      if (this.shown[i]) this.shown[i].node.replaceWith(node);
      else this.body.append(node);
      this.shown[i] = {source, node};
    });
    for (const gone of this.shown.splice(wanted.length)) gone.node.remove();
  }

  updateTokens() {
    if (this.nShownTokens === 0) this.body.replaceChildren(element('p', {class: 'tokens'}));
    const place = this.body.firstChild;
    for (const token of this.message.tokens.slice(this.nShownTokens)) place.append(tokenNode(token));
    this.nShownTokens = this.message.tokens.length;
  }

  updateLegend() {
    const sources = [...new Set((this.message.tokens ?? []).map(sourceOf))];
    this.legend.hidden = !this.showTokens || sources.length < 2;
    if (this.legend.children.length === sources.length) return;
    this.legend.replaceChildren(...sources.map((source) =>
      element('span', {class: `token by-${kindOf(source)}`}, source === 'target' ? say('target') : source)));
  }

  updateStrip() {
    const rounds = roundsOf(this.message.tokens ?? []);
    this.strip.hidden = rounds.every((round) => round.drafted === 0);
    if (this.strip.hidden) return;
    const known = Math.max(0, this.strip.children.length - 1);  // the last one may have grown
    while (this.strip.children.length > known) this.strip.lastChild.remove();
    for (const round of rounds.slice(known)) this.strip.append(barOf(round));
  }
}

function kindOf(source) {
  return source === 'target' || kKnownSources.includes(source) ? source : 'other';
}

function tokenNode(token) {
  const source = sourceOf(token);
  const told = [source === 'target' ? say('originTarget') : say('origin', {s: source})];
  if (source !== 'target') {
    told.push(say('depth', {n: token.depth}));
    if (token.probability > 0) told.push(say('chance', {n: percent(token.probability)}));
  }
  return element('span', {class: `token by-${kindOf(source)}`, title: told.join(' · ')}, token.text);
}

// A round is one pass: accepted drafts, then a token of the target's own: [{drafted, accepted}]. `drafted` of a token is
// what its round had drafted, where the server tells.
export function roundsOf(tokens) {
  const out = [];
  let ended = true;
  for (const token of tokens) {
    if (ended) out.push({drafted: 0, accepted: 0});
    const round = out.at(-1);
    ended = sourceOf(token) === 'target';
    if (!ended) ++round.accepted;
    round.drafted = Math.max(round.drafted, round.accepted, token.drafted ?? 0);
  }
  return out;
}

const kBarUnit = 3, kMaxBar = 16;  // pixels a drafted token; rows that are shown

function barOf(round) {
  const height = (n) => `height:${1 + kBarUnit * Math.min(n, kMaxBar)}px`;
  const bar = element('span', {class: 'bar', title: `${round.accepted} / ${round.drafted}`}, element('span', {class: 'right'}));
  bar.style.cssText = height(round.drafted);
  bar.firstChild.style.cssText = height(round.accepted);
  return bar;
}

// `stats`: {timings, spec, plain, cached} as the server sent them, or undefined.
export function figuresOf(stats) {
  if (!stats?.timings) return [];
  const out = [say('speed', {n: number(stats.timings.predicted_per_second ?? 0, 1)})];
  if (stats.plain > 0) out.push(say('against', {n: number(stats.timings.predicted_per_second / stats.plain, 2)}));
  const spec = stats.spec ?? {};
  if (spec.mean_acceptance_length > 0) out.push(say('perPass', {n: number(spec.mean_acceptance_length, 2)}));
  if (spec.num_draft_tokens > 0) out.push(say('drafted', {n: percent(spec.draft_acceptance_rate)}));
  if (stats.timings.prompt_ms > 0) out.push(say('promptTime', {n: number(stats.timings.prompt_ms / 1000, 2)}));
  if (stats.timings.cache_n > 0) out.push(say('cached', {n: number(stats.timings.cache_n)}));
  return out;
}
