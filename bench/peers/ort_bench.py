"""The benchmark workloads in use on ONNX Runtime, which does not train.

usage: ort_bench.py run WORD...
  WORD  A A1 B C E F G; the networks are those that `torch_bench.py eager export` has written to
        $PEERS/onnx
"""
import os

from common import THREADS, Cycle, batches, main


class OnnxRuntime:
    def __init__(self, _mode):
        import onnxruntime
        self.ort, self.name = onnxruntime, f"onnxruntime {onnxruntime.__version__}"
        self.all_threads()

    def one_thread(self):
        self.threads = 1

    def all_threads(self):
        self.threads = THREADS

    def session(self, model):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        return self.ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def product(self, n):
        import numpy as np
        from onnx import TensorProto, helper
        matrix = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, (n, n))
                  for name in "abc"}
        graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product",
                                  [matrix["a"], matrix["b"]], [matrix["c"]])
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        session = self.session(model.SerializeToString())
        # Bound once, so that no copy is timed.
        binding, random = session.io_binding(), np.random.default_rng(n)
        for name in "abc":
            values = random.standard_normal((n, n), dtype=np.float32)
            value = self.ort.OrtValue.ortvalue_from_numpy(values)
            bind = binding.bind_ortvalue_output if name == "c" else binding.bind_ortvalue_input
            bind(name, value)
        return (lambda: session.run_with_iobinding(binding),)

    def user(self, workload, n):
        session = self.session(os.path.join(os.environ["PEERS"], "onnx", f"{workload}_b{n}.onnx"))
        data, name = Cycle(batches(workload, n)), session.get_inputs()[0].name
        return lambda: session.run(None, {name: data()[0]})


if __name__ == "__main__":
    main(__doc__, ("run",), OnnxRuntime)
