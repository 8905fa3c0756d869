"""Ask a model about an image:  python examples/image_question.py MODEL page.png "What is the total?" """

import sys
from pathlib import Path

from step3vl.data.sample import Image, Message, image, text
from step3vl.inference import Engine, Request, Sampling
from step3vl.model import load_model

model, image_path, question = sys.argv[1:]
engine = Engine(*load_model(model))
message = Message(role="user", content=(image(0), text(question)))
request = Request([message], [Image.from_bytes(Path(image_path).read_bytes())])
(completion,) = engine.generate([request], sampling=Sampling(temperature=0, max_new_tokens=64))[0]
print("reasoning:", completion.reasoning)
print("answer:", completion.answer)
