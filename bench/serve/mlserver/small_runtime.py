"""The same small table model behind MLServer, as its documentation writes a runtime of one's own.

    pip install mlserver onnxruntime onnx
    cd bench/serve/mlserver && PYTHONPATH=..:. taskset -c 0 mlserver start .
"""

import small
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Small(MLModel):
    async def load(self) -> bool:
        self.session = small.session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        p = self.session.run(None, {"x": x})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("p", p)])
