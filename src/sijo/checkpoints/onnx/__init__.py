"""Networks in ONNX files: read by a reader of our own, checked and made safe before onnxruntime sees any of it."""
