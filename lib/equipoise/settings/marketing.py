"""Settings of the audiences: what campaigns are planned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from equipoise.settings.section import Count, LocalFile, Positive, Section, Share
from equipoise.tables.vocabulary import SEGMENTS


class Campaign(Section):
    """One planned campaign, [[audiences.campaigns]] in a settings file."""

    id: str = Field(pattern=r"^[a-z0-9_-]{1,63}$", description="Name of the audience.")
    goal: Literal["respond", "spend", "category", "seed"] = Field(
        description="What a contact is worth: respond: the chance to redeem an offer; spend: expected spend; category: the "
        "chance to visit a category; seed: the chance to be like the users of seed_file."
    )
    budget: Annotated[float, Field(ge=0.0)] = Field(description="Money for contacts.")
    cost_per_contact: Annotated[float, Field(ge=0.0)] = Field(description="Money per user contacted.")
    value_per_response: Positive = Field(
        1.0, description="Money that a response brings; goal spend: the part of spend that is kept."
    )
    category: str = Field("", description="Goal category: the category.")
    seed_file: LocalFile = Field("", description="Goal seed: text file of user ids as in silver.users, one a line.")
    exclude_segments: tuple[str, ...] = Field((), description="Segments left out, of O, interest, buy.")
    exclude_attributes: dict[str, tuple[str, ...]] = Field({}, description="Attribute → values whose users are left out.")
    exclude_file: LocalFile = Field("", description="Text file of user ids that are left out, one a line.")
    frequency_cap: Count | None = Field(
        None, description="Users with so many exposures in frequency_days are left out; none: no cap."
    )
    frequency_days: Count = Field(28, description="Days before as_of that the cap looks at.")
    min_group: Count = Field(1, description="An audience of fewer users is not contacted at all.")

    @field_validator("exclude_segments")
    @classmethod
    def _segments_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(value) - set(SEGMENTS)):
            raise ValueError(f"unknown segments {unknown}; expected some of {', '.join(SEGMENTS)}")
        return value

    @model_validator(mode="after")
    def _goal_has_what_it_needs(self) -> Campaign:
        if self.goal == "category" and not self.category:
            raise ValueError(f"campaign {self.id!r}: goal 'category' needs a category")
        if self.goal == "seed" and not self.seed_file:
            raise ValueError(f"campaign {self.id!r}: goal 'seed' needs a seed_file")
        return self


class Audiences(Section):
    """Whom to contact."""

    campaigns: tuple[Campaign, ...] = Field((), description="Planned campaigns; none: no audience is built.")
    response_days: Count = Field(56, description="A redemption so many days from a campaign's first day on is an answer to it.")
    learn_users: Count = Field(
        50_000, description="Users that responses and likeness are learnt from, at most (of a seed as many): a seeded sample."
    )
    campaign_share: Share = Field(
        0.1, description="Share of the users that a planned campaign is taken to contact when responses are told."
    )
    seed: Count = Field(1, description="Seed of the sample and of the boosted trees.")

    @field_validator("campaigns")
    @classmethod
    def _ids_differ(cls, value: tuple[Campaign, ...]) -> tuple[Campaign, ...]:
        names = [c.id for c in value]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"campaign ids {doubled} are doubled; give each campaign its own")
        return value
