"""One call through the Anthropic or the OpenAI SDK, with the SDK's own retries.

Arguments: vendor, base URL, token, prompt, "stream" or "whole", and perhaps max_tokens and a timeout
in seconds. Prints one JSON object: {"text": ...} or
{"error": class, "status": ..., "message": ..., "code": ...}.
"""

import json
import sys

import anthropic
import openai

vendor, base_url, token, prompt, how = sys.argv[1:6]
max_tokens = int((sys.argv[6:] or [1024])[0])
# Without it the SDK refuses to ask for so much in one piece.
patience = {"timeout": int((sys.argv[7:] or [120])[0])} if sys.argv[6:] else {}
messages = [{"role": "user", "content": prompt}]


def ask_anthropic():
    client = anthropic.Anthropic(base_url=base_url, api_key=token, **patience)
    request = {"model": "claude-test", "max_tokens": max_tokens, "messages": messages}
    if how == "stream":
        with client.messages.stream(**request) as stream:
            return "".join(stream.text_stream)
    return client.messages.create(**request).content[0].text


def ask_openai():
    client = openai.OpenAI(base_url=base_url, api_key=token, **patience)
    request = {"model": "gpt-test", "max_tokens": max_tokens, "messages": messages}
    if how == "stream":
        chunks = client.chat.completions.create(stream=True, **request)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return client.chat.completions.create(**request).choices[0].message.content


try:
    result = {"text": ask_anthropic() if vendor == "anthropic" else ask_openai()}
except (anthropic.APIError, openai.APIError) as error:
    result = {
        "error": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
    }
print(json.dumps(result))
