"""Verifies webhooks as their receivers do, with the library of Standard Webhooks. Takes lines of JSON with `secret`,
`headers` and `body`; answers each with one line: the verified JSON, or what is wrong."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    message = json.loads(line)
    try:
        verified = Webhook(message["secret"]).verify(message["body"], message["headers"])
        print(json.dumps({"verified": verified}))
    except WebhookVerificationError as error:
        print(json.dumps({"error": str(error)}))
