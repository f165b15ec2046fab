"""Options of the commands and the configuration they result in. No TensorFlow."""
