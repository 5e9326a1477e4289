// What the page asks of the server: the routes that any OpenAI client uses, and the server's own figures.

export class Client {
  // `key()`: the API key to send, or an empty string.
  constructor(key) {
    this.key = key;
  }

  headers() {
    const key = this.key();
    return {'Content-Type': 'application/json', ...(key ? {Authorization: `Bearer ${key}`} : {})};
  }

  // The answer's text, or an Error with the server's own message.
  async get(path) {
    const response = await fetch(path, {headers: this.headers(), cache: 'no-store'});
    if (!response.ok) throw new Error(await messageOf(response));
    return response.text();
  }

  async models() {
    const answer = JSON.parse(await this.get('v1/models'));
    return (answer.data ?? []).map((model) => model.id);
  }

  // Yields the chunks of an answer as they come. `signal` ends it: the server notices that the page has left.
  async* chat(body, signal) {
    const response = await fetch('v1/chat/completions', {
      method: 'POST', headers: this.headers(), signal,
      body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}, s3d: {tokens: true}}),
    });
    if (!response.ok) throw new Error(await messageOf(response));
    yield* events(response.body);
  }
}

async function messageOf(response) {
  const text = await response.text();
  try {
    const error = JSON.parse(text).error;
    return error.message ?? String(error);
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

// The JSON values of a stream of server-sent events, up to [DONE]. An event that tells an error is thrown.
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    const {done, value} = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data:')) continue;
      const data = line.slice(5).trim();
      if (data === '[DONE]') return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message ?? String(event.error));
      yield event;
    }
  }
}

// The samples of a Prometheus page by name, labels left out; of equal names the sum.
export function samples(text) {
  const out = new Map();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+([-+0-9.eEinfNa]+)/.exec(line);
    if (match) out.set(match[1], (out.get(match[1]) ?? 0) + Number(match[2]));
  }
  return out;
}
