"""Programs that call a model, filled in for one model and address; tests run them (U12)."""

import json
import shlex
from dataclasses import dataclass

# Where programs look for the key. The key itself is printed only where it is shown once.
KEY_VARIABLE = "HEADROOM_API_KEY"
PROMPT = "Say hello in one sentence."


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program as text. slug: unique within its set and usable in ids."""

    slug: str
    label: str
    text: str


def chat_snippets(base_url: str, model: str, *, secret: str = "") -> tuple[Snippet, ...]:
    """Return programs that ask a chat model for one answer, streamed.

    base_url: ends in /v1. secret: printed into the programs; only where the key is shown once.
    """
    python_key = f'"{secret}"' if secret else f'os.environ["{KEY_VARIABLE}"]'
    python_import = "" if secret else "import os\n"
    javascript_key = f'"{secret}"' if secret else f"process.env.{KEY_VARIABLE}"
    return (
        Snippet(
            "curl",
            "curl",
            f"""curl -N {base_url}/chat/completions \\
  -H "Authorization: Bearer {secret or "$" + KEY_VARIABLE}" \\
  -H "Content-Type: application/json" \\
  -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "{PROMPT}"}}],
    "stream": true
  }}'""",
        ),
        Snippet(
            "python",
            "Python",
            f"""# pip install openai
{python_import}from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key={python_key})
stream = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "{PROMPT}"}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)""",
        ),
        Snippet(
            "javascript",
            "JavaScript",
            f"""// npm install openai
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base_url}", apiKey: {javascript_key} }});
const stream = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "{PROMPT}" }}],
  stream: true,
}});
for await (const chunk of stream) {{
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}}""",
        ),
    )


def launch_snippet(api_url: str, *, instance_type: str, region: str, lease_class: str, ssh_key: str) -> str:
    """Return the command that launches an instance for four hours. api_url: ends in /api/v1."""
    body = {
        "instance_type_name": instance_type,
        "region_name": region,
        "lease_class": lease_class,
        "ssh_key_names": [ssh_key],
        "expires_in_seconds": 4 * 3_600,
    }
    return f"""curl {api_url}/instance-operations/launch \\
  -H "Authorization: Bearer ${KEY_VARIABLE}" \\
  -H "Content-Type: application/json" \\
  -d {shlex.quote(json.dumps(body, indent=2, ensure_ascii=False))}"""


def embedding_snippets(base_url: str, model: str) -> tuple[Snippet, ...]:
    """Return programs that ask an embedding model for one vector. base_url: ends in /v1."""
    return (
        Snippet(
            "curl",
            "curl",
            f"""curl {base_url}/embeddings \\
  -H "Authorization: Bearer ${KEY_VARIABLE}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "input": "Surplus compute, sold by the second."}}'""",
        ),
        Snippet(
            "python",
            "Python",
            f"""# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key=os.environ["{KEY_VARIABLE}"])
answer = client.embeddings.create(model="{model}", input="Surplus compute, sold by the second.")
print(len(answer.data[0].embedding), "dimensions")""",
        ),
        Snippet(
            "javascript",
            "JavaScript",
            f"""// npm install openai
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base_url}", apiKey: process.env.{KEY_VARIABLE} }});
const answer = await client.embeddings.create({{
  model: "{model}",
  input: "Surplus compute, sold by the second.",
}});
console.log(answer.data[0].embedding.length, "dimensions");""",
        ),
    )
