"""A pretrained language model from a local directory, as one unit vector per text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError

Pooling = Literal["mean", "cls", "last"]

CONFIG = "config.json"
POOLING = "1_Pooling"
WEIGHTS = "*.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json")
"""A Hugging Face tokenizer loads when one of these is there."""

UNREAD = ("pooler",)
"""Parts whose answer nobody reads: a directory may lack their weights, and in training they would have no gradient, which
distributed training waits for."""

_COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "data2vec-text")

_POOLING_KEYS: tuple[tuple[str, Pooling], ...] = (
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_lasttoken", "last"),
)


def check_directory(path: str | Path) -> Path:
    """The directory, once it is seen to hold a configuration, weights as safetensors, and a tokenizer.

    Raises:
        ModelError: naming all that is missing.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(
            f"encoder directory {str(folder)!r} does not exist; expected a local Hugging Face directory; set encoder.path"
        )
    missing = []
    if not (folder / CONFIG).is_file():
        missing.append(CONFIG)
    if not any(folder.glob(WEIGHTS)):
        missing.append(f"weights ({WEIGHTS}; pickled weights are not read)")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append(f"a tokenizer (one of {', '.join(TOKENIZER_FILES)})")
    if missing:
        raise ModelError(
            f"encoder directory {str(folder)!r} lacks {'; '.join(missing)}; "
            "expected what save_pretrained of model and tokenizer writes; copy the missing files there or set encoder.path"
        )
    return folder


def load_backbone(path: str | Path) -> nn.Module:
    """The bare transformer in float32, from disk alone; no code from the directory runs.

    Raises:
        ModelError: when the directory is incomplete or its files do not fit together.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar per worker and rank would bury our own lines
    folder = check_directory(path)
    try:
        model, told = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # the library raises a dozen kinds for a damaged directory
        raise ModelError(
            f"encoder directory {str(folder)!r} does not load: {error}; copy it again or set encoder.path"
        ) from error
    missing = sorted(name for name in told["missing_keys"] if name.split(".")[0] not in UNREAD)
    if missing:  # the library would leave them random, and say so in a log line at most
        raise ModelError(
            f"encoder directory {str(folder)!r} does not hold the weights of its config.json: {len(missing)} missing, such as "
            f"{missing[0]!r}; expected files of one model; copy them again or set encoder.path"
        )
    return cast(nn.Module, model)


def set_dropout(backbone: nn.Module, share: float) -> None:
    """Drops so much of everything that the transformer drops of: states, and attention where the family keeps its share there."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):
            cast(Any, module).attention_dropout = share


def load_tokenizer(path: str | Path) -> Any:
    """The directory's tokenizer, from disk alone, padding on the right.

    Raises:
        ModelError: when the directory has none, or it does not load.
    """
    from transformers import AutoTokenizer

    folder = Path(path)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"{str(folder)!r} has no tokenizer; expected one of {', '.join(TOKENIZER_FILES)}; copy it there")
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, padding_side="right")
    except Exception as error:  # as above
        raise ModelError(f"the tokenizer in {str(folder)!r} does not load: {error}; copy it again") from error


def pooling_of(path: str | Path) -> Pooling:
    """How the directory's token states become one vector: what its sentence-transformers file says, else mean for models that
    read both ways (masked language models), and the last token for those that read forwards (decoders), whose earlier tokens know
    nothing of later ones."""
    folder = Path(path)
    stated = folder / POOLING / CONFIG
    if stated.is_file():
        modes = json.loads(stated.read_text(encoding="utf-8"))
        for key, pooling in _POOLING_KEYS:
            if modes.get(key):
                return pooling
    return "mean" if reads_both_ways(folder) else "last"


def state_pooling(folder: Path, pooling: Pooling, width: int) -> None:
    """Writes what `pooling_of` reads into an encoder's directory; `width`: of its vectors, which other readers of the file ask
    for."""
    modes: dict[str, object] = {key: mode == pooling for key, mode in _POOLING_KEYS}
    (folder / POOLING).mkdir()
    said = json.dumps({"word_embedding_dimension": width, **modes}, indent=2)
    (folder / POOLING / CONFIG).write_text(said + "\n", encoding="utf-8")


def reads_both_ways(path: str | Path) -> bool:
    """Whether the directory's transformer is of a family that fills in masked words, and so sees what comes after each word."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = json.loads((Path(path) / CONFIG).read_text(encoding="utf-8"))
    return config.get("model_type") in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")


def most_tokens(path: str | Path) -> int | None:
    """Places that the directory's transformer has for tokens; None where it states no limit.

    RoBERTa and its kin count positions from behind the padding token's id, and lose as many places.
    """
    config = json.loads((Path(path) / CONFIG).read_text(encoding="utf-8"))
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    if not limit:
        return None
    return int(limit) - (int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in _COUNT_FROM_PADDING else 0)


def check_length(path: str | Path, tokens: int, *, prepended: int = 0) -> None:
    """Raises ModelError when the transformer has no places for so many tokens and what a method puts before them."""
    limit = most_tokens(path)
    if limit is not None and tokens + prepended > limit:
        before = f" and training.virtual_tokens = {prepended}" if prepended else ""
        raise ModelError(
            f"encoder.max_tokens = {tokens}{before}, but {str(path)!r} reads at most {limit} tokens; set encoder.max_tokens to "
            f"{limit - prepended} or less, or use an encoder for longer texts"
        )


class TextEncoder(nn.Module):
    """Token ids → unit vector. `autocast` (bfloat16 or float16) runs the transformer, not what reads it, in that precision.
    `prompt`: trained places before the text, which count for nothing in the vector."""

    def __init__(self, backbone: nn.Module, pooling: Pooling, *, prompt: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling
        self.prompt = prompt
        self.autocast: torch.dtype | None = None
        config = cast(Any, backbone.config)
        self.width = int(config.hidden_size)

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """tokens (b, s) int64, mask (b, s) with 1 for text and 0 for padding → (b, d) float32, each row of length 1.

        segments (b, s): which of two texts a token is of, for families that tell them apart; None: there is one text.
        """
        states = self.states(tokens, mask, segments)
        with torch.autocast(tokens.device.type, enabled=False):
            return nn.functional.normalize(_pool(states.float(), mask, self.pooling), dim=-1)

    def states(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """(b, s, d): the last state at each place of the text, in the precision it was computed in."""
        told = {} if segments is None else {"token_type_ids": segments}
        with torch.autocast(tokens.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            found: Tensor = self.backbone(input_ids=tokens, attention_mask=mask, **told).last_hidden_state
        return found[:, self.prompt :]


def _pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(b, s, d) → (b, d); padding never counts."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * places).argmax(dim=1)  # (b,) whichever side the padding is on
        return states[torch.arange(len(states), device=states.device), last]
    weights = mask.to(states.dtype).unsqueeze(-1)  # (b, s, 1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
