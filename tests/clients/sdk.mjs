// One call through the Anthropic or the OpenAI SDK, with the SDK's own retries.
//
// Arguments: vendor, base URL, token, prompt, "stream" or "whole", and perhaps max_tokens and a timeout
// in seconds. Prints one JSON object: {"text": …} or {"error": class, "status": …, "message": …}.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

const [vendor, baseURL, apiKey, prompt, how, most, seconds] = process.argv.slice(2);
const max_tokens = Number(most ?? 1024);
// Without it the SDK refuses to ask for so much in one piece.
const patience = most ? { timeout: Number(seconds ?? 120) * 1000 } : {};
const messages = [{ role: 'user', content: prompt }];

async function askAnthropic() {
  const client = new Anthropic({ baseURL, apiKey, ...patience });
  const request = { model: 'claude-test', max_tokens, messages };
  if (how === 'stream') return client.messages.stream(request).finalText();
  return (await client.messages.create(request)).content[0].text;
}

async function askOpenAI() {
  const client = new OpenAI({ baseURL, apiKey, ...patience });
  const request = { model: 'gpt-test', max_tokens, messages };
  if (how !== 'stream') return (await client.chat.completions.create(request)).choices[0].message.content;
  let text = '';
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? '';
  }
  return text;
}

let result;
try {
  result = { text: await (vendor === 'anthropic' ? askAnthropic() : askOpenAI()) };
} catch (error) {
  result = { error: error.constructor.name, status: error.status ?? null, message: error.message };
}
console.log(JSON.stringify(result));
