"""Texts of a training batch, told in other words: easy data augmentation (Wei and Zou 2019, arXiv 1901.11196), parts in another
order, and translation there and back (Sennrich et al. 2016, arXiv 1511.06709).

A behaviour text is parts between ';', of names between ',', as equipoise.features.text writes them. Token ids are turned back
into words, the words changed and tokenised again, so that it works the same for every tokenizer; a text that nothing happens to
keeps its ids. Letters: b texts, s tokens.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import ModelError, SettingsError

LISTS = ("mostly", "often", "sometimes", "a little", "lately", "items")
"""Words that begin a part whose names are a list, in any order; other parts, such as 'active weekly', are phrases."""

SPAN_SHARE = 0.25
"""Longest span that is deleted, of a text's words."""

KEPT_TRANSLATIONS = 50_000
"""Texts whose translation is remembered: the same ones come again in every epoch."""

TRANSLATED_AT_ONCE = 16
_WORDS = re.compile(r"[^\s,;]+|[,;]")

Words = list[str]


@dataclass(frozen=True)
class AugmentOptions:
    """What happens to texts; every field is a setting of the same name. Files and folders are absolute."""

    token_dropout: float = 0.0
    span_deletion: float = 0.0
    attribute_shuffle: float = 0.0
    synonym_share: float = 0.0
    synonyms_file: str = ""
    back_translation: float = 0.0
    back_translation_models: tuple[str, ...] = ()


class Augmenter:
    """Changes the texts of a batch; the same seed changes the same texts in the same way."""

    def __init__(self, options: AugmentOptions, tokenizer: Any, max_tokens: int) -> None:
        """Raises SettingsError when the synonyms cannot be read, ModelError when there is no translation model where one should
        be."""
        self._options, self._tokenizer, self._max_tokens = options, tokenizer, max_tokens
        self._outside = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self._synonyms = read_synonyms(options.synonyms_file) if options.synonym_share else {}
        self._longest = max((len(phrase.split()) for phrase in self._synonyms), default=0)
        self._translation = RoundTrip(*options.back_translation_models) if options.back_translation else None

    def __call__(self, tokens: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """tokens (b, s), mask (b, s), int64 → the same of another width, at most max_tokens. A text with words keeps at least
        one."""
        draw = random.Random(seed)
        rows = [row[: int(n)] for row, n in zip(tokens.tolist(), mask.sum(dim=1).tolist(), strict=True)]
        before = [self._text(row) for row in rows]
        after = [self._changed(text, draw) for text in self._translated(before, draw)]
        told = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        if not told:
            return tokens, mask
        again = self._tokenizer([after[i] for i in told], truncation=True, max_length=self._max_tokens)["input_ids"]
        for i, row in zip(told, again, strict=True):
            rows[i] = row
        width = max(1, *(len(row) for row in rows))
        blank = self._tokenizer.pad_token_id or 0
        padded = torch.tensor([row + [blank] * (width - len(row)) for row in rows], dtype=tokens.dtype)
        lengths = torch.tensor([[len(row)] for row in rows])
        return padded, (torch.arange(width) < lengths).to(mask.dtype)

    def _text(self, row: list[int]) -> str:
        inside = [i for i in row if i not in self._outside]
        return _line(_WORDS.findall(self._tokenizer.decode(inside, clean_up_tokenization_spaces=False)))

    def _translated(self, texts: list[str], draw: random.Random) -> list[str]:
        if self._translation is None:
            return texts
        chosen = [i for i, text in enumerate(texts) if draw.random() < self._options.back_translation and text]
        told = dict(zip(chosen, self._translation([texts[i] for i in chosen]), strict=True))
        return [told.get(i) or text for i, text in enumerate(texts)]

    def _changed(self, text: str, draw: random.Random) -> str:
        options, words = self._options, _WORDS.findall(text)
        if not any(_is_word(w) for w in words):
            return text
        if self._synonyms:
            words = self._with_synonyms(words, draw)
        if draw.random() < options.attribute_shuffle:
            words = shuffled(words, draw)
        if draw.random() < options.span_deletion:
            words = without_span(words, draw)
        if options.token_dropout:
            kept = [w for w in words if not _is_word(w) or draw.random() >= options.token_dropout]
            words = kept if any(_is_word(w) for w in kept) else [draw.choice([w for w in words if _is_word(w)])]
        return _line(words)

    def _with_synonyms(self, words: Words, draw: random.Random) -> Words:
        out: Words = []
        place = 0
        while place < len(words):
            for length in range(min(self._longest, len(words) - place), 0, -1):
                others = self._synonyms.get(" ".join(words[place : place + length]).lower())
                if others:
                    out += [draw.choice(others)] if draw.random() < self._options.synonym_share else words[place : place + length]
                    place += length
                    break
            else:
                out.append(words[place])
                place += 1
        return out


def shuffled(words: Words, draw: random.Random) -> Words:
    """Parts in another order, and the names inside those that are lists; the word that begins a list stays at its head."""
    parts = [_shuffled_list(part, draw) for part in _split(words, ";") if part]
    draw.shuffle(parts)
    return _joined(parts, ";")


def _shuffled_list(part: Words, draw: random.Random) -> Words:
    head = next((lead.split() for lead in LISTS if part[: len(lead.split())] == lead.split()), None)
    if head is None:
        return part
    names = [name for name in _split(part[len(head) :], ",") if name]
    draw.shuffle(names)
    return head + _joined(names, ",")


def without_span(words: Words, draw: random.Random) -> Words:
    """The words but a run of at most SPAN_SHARE of them, at least one, and never the last one left."""
    places = [i for i, w in enumerate(words) if _is_word(w)]
    if len(places) < 2:
        return words
    length = draw.randint(1, max(1, int(SPAN_SHARE * len(places))))
    start = draw.randrange(len(places) - length + 1)
    gone = set(places[start : start + length])
    return [w for i, w in enumerate(words) if i not in gone]


def read_synonyms(path: str) -> dict[str, list[str]]:
    """Words in small letters → others that may stand in their place, from a TOML file such as `beef = ["veal", "steak"]`.

    Raises:
        SettingsError: when the file is not there, or holds something else.
    """
    try:
        with Path(path).open("rb") as file:
            raw = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"training.synonyms_file = {path!r} is not readable: {error}; expected TOML; correct it") from error
    wrong = [
        w for w, others in raw.items() if not (isinstance(others, list) and others and all(isinstance(o, str) for o in others))
    ]
    if wrong or not raw:
        raise SettingsError(
            f"training.synonyms_file = {path!r}: {f'{wrong[0]!r} has no list of words' if wrong else 'it is empty'}; expected "
            'lines such as beef = ["veal", "steak"]; correct it'
        )
    return {word.lower(): list(others) for word, others in raw.items()}


class RoundTrip:
    """Two translation models in a row, there and back, greedily; loaded when the first text comes."""

    def __init__(self, there: str, back: str) -> None:
        """Raises ModelError when a folder is not there."""
        for folder in (there, back):
            if not Path(folder).is_dir():
                raise ModelError(
                    f"training.back_translation_models: {folder!r} does not exist; expected a local Hugging Face directory of a "
                    "translation model; correct it, or set training.back_translation = 0"
                )
        self._folders = (there, back)
        self._models: list[tuple[Any, Any]] = []
        self._known: dict[str, str] = {}

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Each text told back; one that comes back empty stays as it was."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new and not self._models:
            self._models = [self._load(folder) for folder in self._folders]
        if len(self._known) + len(new) > KEPT_TRANSLATIONS:
            self._known = {text: self._known[text] for text in texts if text in self._known}
        for start in range(0, len(new), TRANSLATED_AT_ONCE):
            asked = new[start : start + TRANSLATED_AT_ONCE]
            found = asked
            for tokenizer, model in self._models:
                found = _translated(found, tokenizer, model)
            self._known |= {a: _line(_WORDS.findall(b)) or a for a, b in zip(asked, found, strict=True)}
        return [self._known[text] for text in texts]

    @staticmethod
    def _load(folder: str) -> tuple[Any, Any]:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, **safe).eval()
            return AutoTokenizer.from_pretrained(folder, **safe), model
        except Exception as error:  # the library raises a dozen kinds for a damaged directory
            raise ModelError(
                f"training.back_translation_models: {folder!r} does not load: {error}; expected a translation model as "
                "save_pretrained writes it; copy it again"
            ) from error


def _translated(texts: list[str], tokenizer: Any, model: Any) -> list[str]:
    fed = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
    longest = 2 * int(fed["input_ids"].shape[1]) + 8
    with torch.inference_mode():
        out = model.generate(
            input_ids=fed["input_ids"], attention_mask=fed["attention_mask"], max_new_tokens=longest, num_beams=1, do_sample=False
        )
    said: list[str] = tokenizer.batch_decode(out, skip_special_tokens=True)
    return said


def _split(words: Words, mark: str) -> list[Words]:
    parts: list[Words] = [[]]
    for word in words:
        if word == mark:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _joined(parts: Sequence[Words], mark: str) -> Words:
    return [word for i, part in enumerate(parts) for word in ([mark] if i else []) + part]


def _line(words: Words) -> str:
    """The words as equipoise.features.text writes them, each mark at the word before it: byte pairs tell `,` from ` ,`."""
    return " ".join(words).replace(" ,", ",").replace(" ;", ";")


def _is_word(word: str) -> bool:
    return word not in (",", ";")
