"""Runs a signature of a SavedModel through TensorFlow's C++ loader, on which TF Serving is built.

It is a script, so that it runs in a process without tfseg, transformers and tf_keras:
`python cpp_loader.py SAVED_MODEL_DIR SIGNATURE FILE...` feeds the contents of the files as one
batch of strings (no input without files), and prints the string outputs and the watched modules
that were imported as JSON.
"""

import base64
import ctypes
import json
import pathlib
import sys
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p

TF_STRING = 7
SIZE_OF_TSTRING = 24
WATCHED_MODULES = ("tfseg", "transformers", "tf_keras", "torch")


class Output(ctypes.Structure):
    """`TF_Output` of the C API: a tensor, given by an operation and the index of its output."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


# Function name -> (result, arguments), from tensorflow/c/c_api.h, tf_tensor.h and tf_tstring.h.
_FUNCTIONS = {
    "TF_NewStatus": (c_void_p, ()),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_StringInit": (None, (c_void_p,)),
    "TF_StringCopy": (None, (c_void_p, c_char_p, c_size_t)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
    "TF_SessionRun": (
        None,
        (c_void_p, c_void_p)
        + (POINTER(Output), POINTER(c_void_p), c_int) * 2
        + (POINTER(c_void_p), c_int, c_void_p, c_void_p),
    ),
}


class CppModel:
    """A SavedModel in a C++ session."""

    def __init__(self, folder: str):
        from tensorflow.core.protobuf import saved_model_pb2  # also loads the C++ libraries

        self._tf = _load_library()
        self._status = self._tf.TF_NewStatus()
        self._graph = self._tf.TF_NewGraph()
        saved_model = saved_model_pb2.SavedModel()
        saved_model.ParseFromString((pathlib.Path(folder) / "saved_model.pb").read_bytes())
        self._signatures = saved_model.meta_graphs[0].signature_def
        tags = (c_char_p * 1)(b"serve")
        options = self._tf.TF_NewSessionOptions()
        self._session = self._tf.TF_LoadSessionFromSavedModel(
            options, None, folder.encode(), tags, 1, self._graph, None, self._status
        )
        self._check()

    def run(self, signature: str, inputs: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
        """Feeds string vectors by input name; returns string vectors by output name."""
        definition = self._signatures[signature]
        feeds = [self._output(definition.inputs[name].name) for name in inputs]
        tensors = [self._string_tensor(values) for values in inputs.values()]
        fetches = [self._output(info.name) for info in definition.outputs.values()]
        results = (c_void_p * len(fetches))()
        self._tf.TF_SessionRun(
            self._session,
            None,
            (Output * len(feeds))(*feeds),
            (c_void_p * len(tensors))(*tensors),
            len(feeds),
            (Output * len(fetches))(*fetches),
            results,
            len(fetches),
            None,
            0,
            None,
            self._status,
        )
        self._check()
        return dict(zip(definition.outputs, map(self._read_strings, results), strict=True))

    def _output(self, tensor_name: str) -> Output:
        operation, index = tensor_name.split(":")
        return Output(self._tf.TF_GraphOperationByName(self._graph, operation.encode()), int(index))

    def _string_tensor(self, values: list[bytes]) -> int:
        shape = (c_int64 * 1)(len(values))
        tensor = self._tf.TF_AllocateTensor(TF_STRING, shape, 1, SIZE_OF_TSTRING * len(values))
        for index, value in enumerate(values):
            string = self._tf.TF_TensorData(tensor) + SIZE_OF_TSTRING * index
            self._tf.TF_StringInit(string)
            self._tf.TF_StringCopy(string, value, len(value))
        return tensor

    def _read_strings(self, tensor: int) -> list[bytes]:
        assert self._tf.TF_TensorType(tensor) == TF_STRING
        assert self._tf.TF_NumDims(tensor) == 1
        data = self._tf.TF_TensorData(tensor)
        strings = [data + SIZE_OF_TSTRING * i for i in range(self._tf.TF_Dim(tensor, 0))]
        return [
            ctypes.string_at(
                self._tf.TF_StringGetDataPointer(string), self._tf.TF_StringGetSize(string)
            )
            for string in strings
        ]

    def _check(self):
        if self._tf.TF_GetCode(self._status):
            raise RuntimeError(self._tf.TF_Message(self._status).decode())


def _load_library() -> ctypes.CDLL:
    import tensorflow

    # This library links to libtensorflow_framework, which has the tensor and status functions.
    folder = pathlib.Path(tensorflow.__file__).parent
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main(folder: str, signature: str, *files: str):
    model = CppModel(folder)
    images = [pathlib.Path(file).read_bytes() for file in files]
    outputs = model.run(signature, {"image_bytes": images} if images else {})
    encoded = {
        name: [base64.b64encode(value).decode() for value in values]
        for name, values in outputs.items()
    }
    modules = [name for name in WATCHED_MODULES if name in sys.modules]
    print(json.dumps({"outputs": encoded, "modules": modules}))


if __name__ == "__main__":
    main(*sys.argv[1:])
