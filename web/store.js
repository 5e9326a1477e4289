// Conversations, kept in the browser. A conversation: {id, title, changed, messages}; a message: {role, content} and, of
// an answer, {reasoning, tokens, stats, reason}.
const kKey = 's3d.conversations';

function isMessage(value) {
  return value && ['system', 'user', 'assistant'].includes(value.role) && typeof value.content === 'string';
}

function isConversation(value) {
  return value && typeof value.id === 'string' && typeof value.title === 'string' && Array.isArray(value.messages) &&
    value.messages.every(isMessage);
}

export class Store {
  // `storage`: the browser's localStorage or the like; `onFull()` is called when it takes nothing more.
  constructor(storage, onFull) {
    this.storage = storage;
    this.onFull = onFull;
    this.conversations = this.read();
  }

  read() {
    try {
      const all = JSON.parse(this.storage.getItem(kKey) ?? '[]');
      return Array.isArray(all) ? all.filter(isConversation) : [];
    } catch {
      return [];
    }
  }

  // Tokens are the bulk: those of the oldest answers go first when there is no room.
  save() {
    for (const light of [false, true]) {
      try {
        const text = JSON.stringify(this.conversations, (key, value) => (light && key === 'tokens' ? undefined : value));
        this.storage.setItem(kKey, text);
        return;
      } catch { /* no room: once more without tokens */ }
    }
    this.onFull();
  }

  create() {
    const conversation = {id: crypto.randomUUID?.() ?? String(Date.now() + Math.random()), title: '', changed: Date.now(), messages: []};
    this.conversations.unshift(conversation);
    return conversation;
  }

  find(id) {
    return this.conversations.find((conversation) => conversation.id === id);
  }

  // Puts it first and saves.
  touch(conversation) {
    conversation.changed = Date.now();
    this.conversations = [conversation, ...this.conversations.filter((other) => other !== conversation)];
    this.save();
  }

  remove(conversation) {
    this.conversations = this.conversations.filter((other) => other !== conversation);
    this.save();
  }

  // A file's text, made by exportText(). False: it holds no conversations.
  importText(text) {
    try {
      const all = JSON.parse(text).conversations.filter(isConversation);
      const known = new Set(all.map((conversation) => conversation.id));
      this.conversations = [...all, ...this.conversations.filter((conversation) => !known.has(conversation.id))];
      this.save();
      return all.length > 0;
    } catch {
      return false;
    }
  }

  exportText(conversations = this.conversations) {
    return JSON.stringify({format: 's3d-conversations', conversations}, null, 1);
  }
}
