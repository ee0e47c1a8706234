"""Published models in one folder: whole or not at all, and CURRENT names the one in use.

<root>/<model_id>/     a package (equipoise.models.package)
<root>/CURRENT         the id of the promoted model, one line
<root>/HISTORY.jsonl   every move of CURRENT (equipoise.training.history)
<root>/_staging, _checkpoints, _logs, _scratch   work in progress; no reader looks there
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from equipoise.clock import now
from equipoise.errors import ConflictError, GateError, ModelError
from equipoise.models.package import META, verify
from equipoise.models.signature import check_signature, sign
from equipoise.places import is_remote, local
from equipoise.training.checkpoint import sync_folder, sync_tree
from equipoise.training.history import Move, Standing, append, read_history, standing
from equipoise.training.verdict import Verdict, recorded

POINTER = "CURRENT"
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


class Registry:
    """The models under one folder, on a disk that every machine that trains or scores can see."""

    def __init__(self, root: str | Path, key: bytes = b"") -> None:
        """`key`: what models are signed with when they are published and must be signed with to be used; b"": nothing."""
        if is_remote(str(root)):
            raise ModelError(
                f"models cannot live at {str(root)!r}: they are published by a rename and locked by the kernel; expected a "
                "folder that all machines mount; set shared_folder to one"
            )
        self.root, self._key = Path(local(str(root))), key

    @classmethod
    def of(cls, home: str, key: bytes = b"") -> Registry:
        """The registry below a warehouse's folder, or below its shared_folder."""
        return cls(f"{home}/models/encoder", key)

    def path(self, model_id: str) -> Path:
        """Where a model lives, published or not."""
        if not _ID.match(model_id):
            raise ModelError(f"model id {model_id!r} is not letters, digits, '.', '_' or '-'")
        return self.root / model_id

    def staging(self, model_id: str) -> Path:
        """Where a model is written before it is published; same disk, so that publishing is a rename."""
        return self.root / "_staging" / self.path(model_id).name

    def checkpoints(self, model_id: str) -> Path:
        """Where its training keeps checkpoints."""
        return self.root / "_checkpoints" / self.path(model_id).name

    def logs(self, model_id: str) -> Path:
        """Where its training writes figures and TensorBoard events."""
        return self.root / "_logs" / self.path(model_id).name

    def places(self, model_id: str) -> dict[str, Any]:
        """Those three as text, by name."""
        return {f.__name__: str(f(model_id)) for f in (self.staging, self.checkpoints, self.logs)}

    @property
    def scratch(self) -> Path:
        """Folder for what workers read while a job runs."""
        return self.root / "_scratch"

    def published(self, model_id: str) -> bool:
        """Whether the model is there."""
        return (self.path(model_id) / META).is_file()

    def ids(self) -> list[str]:
        """Ids of all published models, in order."""
        return sorted(p.parent.name for p in self.root.glob(f"*/{META}") if _ID.match(p.parent.name))

    def named(self) -> str | None:
        """What CURRENT names, there or not; None before the first promotion."""
        pointer = self.root / POINTER
        return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None

    def current(self) -> str | None:
        """Id of the promoted model; None before the first.

        Raises:
            ModelError: when CURRENT names a model that is not there.
        """
        model_id = self.named()
        if model_id is not None and not self.published(model_id):
            raise ModelError(
                f"{str(self.root / POINTER)!r} names {model_id!r}, which is not there; restore it, choose another with "
                "promote_model, or run finetune_encoder again"
            )
        return model_id

    def trusted(self, model_id: str) -> Path:
        """Where a model lives, once its signature is seen to be right; without a key every model is trusted.

        Raises:
            ModelError: when it is not signed with the key.
        """
        path = self.path(model_id)
        if self._key:
            check_signature(path, self._key)
        return path

    def sign(self, model_id: str) -> None:
        """Signs a published model that was made before there was a key, once every file is what it was.

        Raises:
            ModelError: when it is damaged, or there is no key.
        """
        if not self._key:
            raise ModelError("there is no key to sign with; set models.signing_key_file")
        verify(self.path(model_id))
        sign(self.path(model_id), self._key)

    def _verify(self, folder: Path) -> None:
        verify(folder)
        if self._key:
            check_signature(folder, self._key)

    def history(self) -> list[Move]:
        """Every move of CURRENT, the first first."""
        return read_history(self.root)

    def standing(self) -> Standing:
        """Which models were CURRENT, which are withdrawn, and whether a move was interrupted."""
        return standing(self.history(), self.named())

    def publish(self, staging: str | Path, model_id: str) -> Path:
        """Makes a staged package a published model by one rename; readers never see half of it. Promotes nothing.

        A model that is there already under this id, whole, stays; the staged one is then dropped. So are its checkpoints.

        Raises:
            ModelError: when the staged package is not what its manifest says.
        """
        source, target = Path(staging), self.path(model_id)
        if self.published(model_id):
            self._verify(target)
            shutil.rmtree(source, ignore_errors=True)
        else:
            verify(source)
            if self._key:
                sign(source, self._key)
            sync_tree(source)
            source.rename(target)
            sync_folder(self.root)
        shutil.rmtree(self.checkpoints(model_id), ignore_errors=True)
        return target

    def promote(self, model_id: str, verdict: Verdict | None = None) -> None:
        """Points CURRENT at a published model, once it has passed the gate; the history says so. Harmless when it is CURRENT.

        Raises:
            GateError: when its validation loss is not finite or worse than that of the baselines it started as, `verdict` refuses
                it, or it was withdrawn: a person rolled back from it.
            ConflictError: when CURRENT is no longer the model that `verdict` judged it against.
            ModelError: when it is not there or damaged.
        """
        self._verify(self.path(model_id))
        check_gate(model_id, self._meta(model_id)["metrics"])
        if verdict is not None:
            verdict.check(model_id)
        with self._locked():
            self._settle()
            current, withdrawn = self.named(), self.standing().withdrawn
            if current == model_id:
                return
            if model_id in withdrawn:
                raise GateError(
                    f"model {model_id} was withdrawn ({withdrawn[model_id] or 'no reason given'}), so that no run promotes it; "
                    f"CURRENT stays; to use it again: python jobs/promote_model.py --to {model_id}"
                )
            if verdict is not None and verdict.current != current:
                raise ConflictError(
                    f"model {model_id} was compared with {verdict.current or 'none'}, but CURRENT is {current or 'none'} by now; "
                    "run again: it is compared with that one"
                )
            self._move("promote", model_id, current, "", verdict)

    def settle(self) -> str | None:
        """Does what a process that died had yet to do: CURRENT goes where the history's last line says; returns that model's id.

        None when nothing was to be done, also where that model is not there or damaged: CURRENT then stays.
        """
        with self._locked():
            return self._settle()

    def back(self, reason: str = "") -> Move:
        """Points CURRENT to the model promoted before it, and withdraws the one it named; an interrupted rollback is ended.

        Raises:
            ModelError: when there is no model to go back to, or it is not there or damaged.
        """
        with self._locked():
            if self._settle() is not None and self.history()[-1].action == "rollback":
                return self.history()[-1]
            lineage, current = self.standing().lineage, self.named()
            earlier = lineage[: lineage.index(current)] if current in lineage else lineage
            if not earlier:
                raise ModelError(
                    f"nothing to go back to in {str(self.root)!r}: {current or 'no model'} is CURRENT and the history knows none "
                    "before it; name one with --to (--list shows them)"
                )
            self._must_be_whole(earlier[-1])
            return self._move("rollback", earlier[-1], current, reason, None)

    def choose(self, model_id: str, reason: str = "") -> Move:
        """Points CURRENT at a model because a person says so, withdrawn or not.

        A model that was CURRENT before is rolled back to: those after it are withdrawn. Any other is a promotion by hand; one
        that the gate refused needs a reason.

        Raises:
            GateError: when its validation loss is not finite, or the gate refused it and no reason is given.
            ModelError: when it is unknown, damaged, or CURRENT already.
        """
        self._must_be_whole(model_id)
        with self._locked():
            finished = self._settle()
            lineage, current = self.standing().lineage, self.named()
            if finished == model_id:
                return self.history()[-1]
            if current == model_id:
                raise ModelError(f"model {model_id} is CURRENT already; --list shows the others")
            if model_id in lineage:
                return self._move("rollback", model_id, current, reason, None)
            self._check_choice(model_id, reason)
            return self._move("choose", model_id, current, reason, None)

    def _check_choice(self, model_id: str, reason: str) -> None:
        meta = self._meta(model_id)
        metrics, verdict = meta["metrics"], recorded(meta.get("gate", {}))
        if not math.isfinite(metrics.get("best_loss", math.nan)):
            raise GateError(
                f"model {model_id} has validation loss {metrics.get('best_loss')}, expected a finite one; choose another model"
            )
        try:
            check_gate(model_id, metrics)
            if verdict is not None:
                verdict.check(model_id)
        except GateError as error:
            if not reason:
                raise GateError(
                    f"the gate refused {model_id}; to use it all the same, say why with --reason. The gate said: {error}"
                ) from None

    def _must_be_whole(self, model_id: str) -> None:
        if not self.published(model_id):
            known = ", ".join(self.ids()) or "none"
            raise ModelError(f"no model {model_id!r} in {str(self.root)!r}; expected one of {known}")
        self._verify(self.path(model_id))

    def _move(
        self,
        action: Literal["promote", "choose", "rollback"],
        model_id: str,
        previous: str | None,
        reason: str,
        verdict: Verdict | None,
    ) -> Move:
        """First the history, then CURRENT: a withdrawal counts from the first moment on, and `_settle` ends what was begun."""
        move = Move(action, model_id, previous, reason, now().isoformat(timespec="seconds"), verdict.as_dict() if verdict else {})
        append(self.root, move)
        self._point(model_id)
        return move

    def _point(self, model_id: str) -> None:
        aside = self.root / f".{POINTER}"
        with aside.open("w", encoding="utf-8") as file:
            file.write(f"{model_id}\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.root / POINTER)
        sync_folder(self.root)

    def _settle(self) -> str | None:
        pending = self.standing().pending
        if pending is None:
            return None
        try:
            self._must_be_whole(pending)
        except ModelError:
            return None
        self._point(pending)
        return pending

    def _meta(self, model_id: str) -> dict[str, Any]:
        return dict(json.loads((self.path(model_id) / META).read_text(encoding="utf-8")))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer of history and CURRENT at a time; the kernel lets go when the process dies."""
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / "_lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def check_gate(model_id: str, metrics: dict[str, float]) -> None:
    """Raises GateError unless best_loss is finite and at most start_loss, the loss of what the untrained model says: the decayed
    average with its Dirichlet prior, and the logit on explicit features."""
    best, start = metrics.get("best_loss", math.nan), metrics.get("start_loss", math.nan)
    if not (math.isfinite(best) and math.isfinite(start) and best <= start):
        raise GateError(
            f"model {model_id} is published but not promoted: validation loss {best:.4f}, expected a finite one of at most "
            f"{start:.4f}, which the baselines reach; CURRENT stays; look at its MODEL_CARD.md, change [training] and run again"
        )
