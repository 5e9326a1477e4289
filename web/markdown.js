// Markdown as models write it, into elements. What a model writes is never HTML: every text becomes a text node, and
// links lead to http, https and mailto only. Each construct is found in one pass over its text.
import {element} from './dom.js';
import {say} from './strings.js';

const kFence = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const kHeading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const kItem = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const kRule = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const kTableRule = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const kMaxNesting = 8;
const kMaxInline = 8000;  // characters of a block that are searched for marks: a search may take their square

// Cuts a text into blocks: {kind, lines, info}. The last one may still grow while the text streams in.
export function blocks(text) {
  const out = [];
  const lines = text.split('\n');
  let i = 0;
  while (i < lines.length) {
    const fence = kFence.exec(lines[i]);
    if (lines[i].trim() === '') {
      ++i;
    } else if (fence) {
      let end = i + 1;
      const closes = (line) => line.trim().startsWith(fence[1]) && line.trim().replaceAll(fence[1][0], '') === '';
      while (end < lines.length && !closes(lines[end])) ++end;
      out.push({kind: 'code', info: fence[2].trim(), lines: lines.slice(i + 1, end)});
      i = end + 1;
    } else if (kHeading.test(lines[i])) {
      const [, marks, title] = kHeading.exec(lines[i]);
      out.push({kind: 'heading', info: marks.length, lines: [title]});
      ++i;
    } else if (kRule.test(lines[i])) {
      out.push({kind: 'rule', lines: []});
      ++i;
    } else {
      const kind = kItem.test(lines[i]) ? 'list' : lines[i].trimStart().startsWith('>') ? 'quote'
        : i + 1 < lines.length && lines[i].includes('|') && kTableRule.test(lines[i + 1]) ? 'table' : 'paragraph';
      const end = endOfBlock(kind, lines, i);
      out.push({kind, lines: lines.slice(i, end)});
      i = end;
    }
  }
  return out;
}

function endOfBlock(kind, lines, begin) {
  let i = begin + 1;
  for (; i < lines.length; ++i) {
    const line = lines[i];
    if (line.trim() === '') {
      // A list goes on behind an empty line if an item or indented text follows.
      const next = lines[i + 1] ?? '';
      if (kind === 'list' && (kItem.test(next) || /^\s{2,}\S/.test(next))) continue;
      return i;
    }
    if (kind === 'table' && !line.includes('|')) return i;
    if (kind === 'list' && (kItem.test(line) || /^\s/.test(line))) continue;
    if (kFence.test(line) || kHeading.test(line) || kRule.test(line)) return i;
    if (kind === 'paragraph' && (kItem.test(line) || line.trimStart().startsWith('>'))) return i;
    if (kind === 'quote' && !line.trimStart().startsWith('>')) return i;
  }
  return i;
}

// The element of one block. `copy(text)`: what the button of a code block does.
export function renderBlock(block, copy, depth = 0) {
  const text = block.lines.join('\n');
  switch (block.kind) {
    case 'code': return renderCode(block.info, text, copy);
    case 'heading': return element(`h${Math.min(6, block.info + 2)}`, {}, ...inline(text));
    case 'rule': return element('hr');
    case 'quote': return element('blockquote', {}, ...nested(block.lines.map((l) => l.replace(/^\s*>\s?/, '')), copy, depth));
    case 'list': return renderList(block.lines, copy, depth);
    case 'table': return renderTable(block.lines);
    default: return element('p', {}, ...inline(text));
  }
}

function nested(lines, copy, depth) {
  const text = lines.join('\n');
  if (depth >= kMaxNesting) return [text];
  return blocks(text).map((block) => renderBlock(block, copy, depth + 1));
}

function renderCode(info, text, copy) {
  const button = element('button', {class: 'quiet copy', type: 'button', onclick: () => copy(text, button)}, say('copy'));
  const head = element('div', {class: 'code-head'}, element('span', {}, info.split(/\s/)[0] ?? ''), button);
  return element('div', {class: 'code'}, head, element('pre', {tabindex: '0'}, element('code', {}, text)));
}

function renderList(lines, copy, depth) {
  const first = kItem.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const indent = first[1].length;
  const items = [];
  for (const line of lines) {
    const item = kItem.exec(line);
    if (item && item[1].length <= indent + 1) items.push([item[3]]);
    else items.at(-1).push(line.replace(new RegExp(`^\\s{0,${indent + (ordered ? 3 : 2)}}`), ''));
  }
  const start = ordered && parseInt(first[2], 10) !== 1 ? {start: parseInt(first[2], 10)} : {};
  return element(ordered ? 'ol' : 'ul', start, ...items.map((item) => renderItem(item, copy, depth)));
}

// An item of one paragraph has no paragraph element of its own.
function renderItem(lines, copy, depth) {
  const parts = nested(lines, copy, depth);
  const [head, ...rest] = parts;
  if (head?.nodeName === 'P') return element('li', {}, ...head.childNodes, ...rest);
  return element('li', {}, ...parts);
}

function cells(line) {
  return line.trim().replace(/^\|/, '').replace(/\|$/, '').split('|').map((cell) => cell.trim());
}

function renderTable(lines) {
  const row = (line, name) => element('tr', {}, ...cells(line).map((cell) => element(name, {}, ...inline(cell))));
  return element('div', {class: 'table'}, element('table', {},
    element('thead', {}, row(lines[0], 'th')), element('tbody', {}, ...lines.slice(2).map((line) => row(line, 'td')))));
}

// ---- Within a line -----------------------------------------------------------------------------------------------

// A piece of code, a link, strong, emphasis, struck out, a bare address, a hard break, an escaped mark.
const kInline = new RegExp([
  /(?<!`)(`+)(?!`)(?<code>[\s\S]*?[^`])\1(?!`)/, /\[(?<label>[^\]\n]*)\]\((?<href>[^()\s]*)(?:\s+"[^"\n]*")?\)/,
  /(?<strong>\*\*|__)(?<bold>\S(?:[^\n]*?\S)?)\k<strong>/, /(?<![\w*])(?<em>[*_])(?<slant>[^\s*_](?:[^*_\n]*[^\s*_])?)\k<em>(?!\w)/,
  /~~(?<struck>[^~\n]+)~~/, /(?<url>https?:\/\/[^\s<>()\]"']*[^\s<>()\]"'.,;:!?])/, /(?<br> {2,}\n)/, /\\(?<escaped>[\\`*_{}[\]()#+.!|~>-])/,
].map((part) => part.source).join('|'), 'g');

function link(href, ...label) {
  if (!/^(https?:|mailto:)/i.test(href)) return element('span', {}, ...label);
  return element('a', {href, target: '_blank', rel: 'noopener noreferrer nofollow'}, ...label);
}

export function inline(text, depth = 0) {
  if (depth >= kMaxNesting || text.length > kMaxInline) return [text];
  const out = [];
  let at = 0;
  for (const match of text.matchAll(kInline)) {
    if (match.index > at) out.push(text.slice(at, match.index));
    at = match.index + match[0].length;
    out.push(renderInline(match.groups, depth + 1));
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

function renderInline(found, depth) {
  if (found.code !== undefined) return element('code', {}, found.code.trim() || found.code);
  if (found.href !== undefined) return link(found.href, ...inline(found.label, depth));
  if (found.bold !== undefined) return element('strong', {}, ...inline(found.bold, depth));
  if (found.slant !== undefined) return element('em', {}, ...inline(found.slant, depth));
  if (found.struck !== undefined) return element('s', {}, found.struck);
  if (found.url !== undefined) return link(found.url, found.url);
  if (found.br !== undefined) return element('br');
  return found.escaped;
}
