"""From text to token ids: one tokenizer, the files that models were published with, and training one."""
