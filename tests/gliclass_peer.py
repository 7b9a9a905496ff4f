"""The public `gliclass`, of which padding is no part: each row is read by itself, as it would be alone."""

import gliclass
import torch
from transformers.modeling_outputs import SequenceClassifierOutput


class GLiClassModel(gliclass.GLiClassModel):  # by the name that config.json has
    def forward(self, input_ids, attention_mask=None, token_type_ids=None, output_hidden_states=False):
        """Logits (B, N), 0 where a row has fewer labels than another, and states, 0 at padding."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        outputs, places = [], []
        for ids, own, kinds in zip(input_ids, mask.bool(), types, strict=True):
            places.append(own.nonzero()[:, 0])
            outputs.append(
                self.model(
                    ids[None, own],
                    attention_mask=torch.ones_like(ids[None, own]),
                    token_type_ids=kinds[None, own],
                    position_ids=places[-1][None],
                    output_hidden_states=True,
                    return_dict=True,
                    max_num_classes=int((ids[own] == self.config.class_token_index).sum()),
                )
            )
        most = max(output.logits.shape[1] for output in outputs)
        logits = torch.cat(
            [torch.nn.functional.pad(one.logits, (0, most - one.logits.shape[1])) for one in outputs]
        )
        states = []
        for layers in zip(*(output.hidden_states for output in outputs), strict=True):
            whole = layers[0].new_zeros(*input_ids.shape, layers[0].shape[-1])
            for row, (state, own) in enumerate(zip(layers, places, strict=True)):
                whole = whole.index_put((torch.full_like(own, row), own), state[0])
            states.append(whole)
        return SequenceClassifierOutput(logits=logits, hidden_states=tuple(states))
