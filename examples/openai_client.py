"""Ask a running `step3vl serve` with the official client; `pip install openai` first:

step3vl serve MODEL --name step3-vl
python examples/openai_client.py http://127.0.0.1:8000/v1 page.png "What is the total?"
"""

import base64
import sys
from pathlib import Path

from openai import OpenAI

url, image, question = sys.argv[1:]
client = OpenAI(base_url=url, api_key="none")
data = base64.b64encode(Path(image).read_bytes()).decode()
content = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    {"type": "text", "text": question},
]
for model in (client.models.list().data[0].id, "step3-vl-pacore-low"):
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], max_tokens=64, seed=0, stream=True
    )
    print(f"{model}: ", end="")
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)
    print()
