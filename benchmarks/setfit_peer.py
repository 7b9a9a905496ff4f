"""SetFit's own package on one question from few_labels.py: JSON on standard input, JSON on standard output.

It runs in an environment of its own, of which few_labels.py is told the Python (--setfit), since sijo does not need
the package. Nothing of sijo is imported.
"""

import json
import os
import sys
import tempfile
import time

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def main() -> None:
    """Train, answer, and say how long training took."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    asked = json.load(sys.stdin)
    model = SetFitModel.from_pretrained(asked["model"])
    model.model_body.max_seq_length = asked["longest"]
    model.model_body.default_prompt_name = None  # the prompt stands before each text, in training too
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            batch_size=16,
            num_epochs=1,
            num_iterations=asked["iterations"],
            seed=asked["seed"],
            show_progress_bar=False,
            report_to="none",
            save_strategy="no",
        )
        texts = [asked["prompt"] + text for text in asked["texts"]]
        rows = Dataset.from_dict({"text": texts, "label": asked["labels"]})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        started = time.process_time()
        trainer.train()
        seconds = time.process_time() - started
    texts = [asked["prompt"] + text for text in asked["asked"]]
    answers = [int(label) for label in model.predict(texts, show_progress_bar=False)]
    print("\n" + json.dumps({"answers": answers, "seconds": seconds}))


if __name__ == "__main__":
    main()
