"""One file for each kind of implementation. A framework is imported when its adapter is, and not before.

| file | what it makes answer calls |
|---|---|
| `numpy_functions` | a pair of functions on NumPy arrays, or on anything with ``__dlpack__`` |
| `torch_functions` | a function on PyTorch tensors |
| `torch_modules` | a `torch.nn.Module`: instance, class, or factory ``make(call)`` |
| `jax_functions` | a function on JAX arrays |
| `tensorflow_functions` | a function on TensorFlow tensors |
| `keras_layers` | a Keras 3 layer: instance, class, or factory ``make(call)``, on any backend |
| `onnx_files` | an ONNX file, by ONNX Runtime: forward only |
| `commands` | a program that reads and writes files (`senumpy.crosscheck.exchange`) |

All are `base.Adapter`s. `options`, `parameters` and `construct` say how names and shapes of others become
ours.
"""
