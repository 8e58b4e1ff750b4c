"""Asks a server by Triton's own client; says on its last line, as JSON, what came back."""

from __future__ import annotations

import json
import sys

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException

address, model, *customers = sys.argv[1:]
client = http.InferenceServerClient(address)
asked = http.InferInput("customer_id", [len(customers)], "BYTES")
asked.set_data_from_numpy(np.array(customers, object), binary_data=False)
answer = client.infer(model, [asked], request_id="7")
try:
    client.infer("no_such_model", [asked])
    refused = "nothing was"
except InferenceServerException as error:
    refused = error.message()
metadata = client.get_model_metadata(model)
found = {
    "prediction": answer.as_numpy("prediction").tolist(),
    "class": answer.as_numpy("class").tolist(),
    "alive": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model_ready": client.is_model_ready(model),
    "name": metadata["name"],
    "inputs": [each["name"] for each in metadata["inputs"]],
    "refused": refused,
}
print(json.dumps(found))
