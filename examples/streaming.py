"""Print a reply while it is sampled:  python examples/streaming.py MODEL page.png "What is the total?" """

import sys
from pathlib import Path

from step3vl.data.sample import Image, Message, image, text
from step3vl.inference import Engine, Request, Sampling
from step3vl.model import load_model

model, image_path, question = sys.argv[1:]
engine = Engine(*load_model(model))
message = Message(role="user", content=(image(0), text(question)))
request = Request([message], [Image.from_bytes(Path(image_path).read_bytes())])
for piece in engine.stream(request, Sampling(max_new_tokens=64, seed=0)):
    print(piece, end="", flush=True)
print()
