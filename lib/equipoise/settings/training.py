"""Settings of fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from equipoise.places import Place
from equipoise.settings.section import Count, LocalFile, Positive, Section, Share


class Training(Section):
    """Fine-tuning."""

    processes: Count = Field(2, description="Ranks of the distributed training.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Device; cpu uses gloo, cuda uses nccl.")
    cluster_mode: bool = Field(False, description="False: ranks on the driver; True: one rank per Spark task.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="What the encoder computes in; auto: bfloat16 where the processor has it; float16 scales the loss."
    )
    sharded: bool = Field(False, description="Weights dealt out over the ranks (FSDP), for an encoder that does not fit on one.")
    compile: bool = Field(False, description="torch.compile; pays on a GPU, after a minute or two of compiling.")
    activation_checkpointing: bool = Field(
        False, description="The encoder's blocks are computed again in the backward pass instead of kept: less memory, more time."
    )
    seed: Count = Field(1, description="Seed of sampling, initialisation and order.")
    fit_prior: bool = Field(
        True, description="Fit the prior's two numbers on the training examples; false: interests.dirichlet and .sharpening."
    )
    method: Literal["full", "last_layers", "frozen", "lora", "adalora", "bottleneck", "prefix", "prompt"] = Field(
        "lora", description="Text route: what of the encoder is trained (docs/fine_tuning.md)."
    )
    last_layers: Count = Field(2, description="last_layers: how many blocks, counted from the end.")
    lora_rank: Count = Field(8, description="lora and adalora: rank of the adapters, on average for the latter.")
    lora_alpha: Positive = Field(16.0, description="lora and adalora: scale; effect is alpha ÷ rank.")
    lora_dropout: Share = Field(0.05, description="lora and adalora: dropout on the adapters' input.")
    lora_layers: Literal["attention", "all"] = Field(
        "attention", description="lora and adalora: the projections of attention, or all linear layers of the blocks."
    )
    bottleneck_width: Count = Field(32, description="bottleneck: units of the network behind each block.")
    virtual_tokens: Count = Field(8, description="prefix and prompt: trained places before the text.")
    dropout: Share | None = Field(None, description="Dropout everywhere in the encoder; none: as it was pretrained.")
    optimiser: Literal["adamw", "adafactor", "sgd"] = Field("adamw", description="Optimiser.")
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.9, description="sgd: Nesterov's momentum.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Learning rate after the warm-up.")
    learning_rate: Positive | None = Field(
        None, description="Peak learning rate of the encoder's part or the tower; none: 5e-4, or what suits the method."
    )
    head_learning_rate: Positive = Field(2e-3, description="Peak learning rate of the heads.")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(
        0.01, description="Weight decay of matrices; biases and norms have none."
    )
    warmup_share: Share = Field(0.1, description="Share of the steps with rising learning rate.")
    clip_norm: Positive = Field(1.0, description="Gradient norm at which gradients are clipped.")
    batch_size: Count = Field(32, description="Examples per rank and step.")
    micro_batch: Annotated[int, Field(ge=0)] = Field(
        0, description="Examples per pass, whose gradients are added up to a step; 0: all; halved by itself when memory runs out."
    )
    epochs: Count = Field(1, description="Passes over the sample.")
    max_steps: Count = Field(64, description="Steps of fine-tuning at most; the learning rate falls towards the last of them.")
    pair_steps: Count = Field(
        1200, description="Steps, of pair_batch examples, that fit the pair network before fine-tuning begins."
    )
    pair_batch: Count = Field(64, description="Examples per step of the pair network.")
    pair_learning_rate: Positive = Field(6e-3, description="Peak learning rate of the pair network.")
    sample_examples: Count = Field(
        20_000, description="Training examples drawn (seeded) from all cuts; all when there are fewer."
    )
    validation_examples: Count = Field(4096, description="Validation examples drawn (seeded).")
    max_seconds: Positive = Field(120.0, description="Wall clock limit: training stops at the next evaluation step.")
    evaluations_per_epoch: Count = Field(2, description="Validation passes per epoch, or per max_steps where that is less.")
    patience: Count = Field(3, description="Validation passes without improvement before training stops.")
    category_weight: Annotated[float, Field(ge=0.0)] = Field(1.0, description="Weight of the category loss.")
    visit_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.1, description="Weight of the log loss of visits, summed over the categories."
    )
    value_weight: Annotated[float, Field(ge=0.0)] = Field(1.0, description="Weight of the value loss.")
    next_item_weight: Annotated[float, Field(ge=0.0)] = Field(0.1, description="Tower: weight of the loss of the next item.")
    behaviour_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.1,
        description="Tower: weight of the loss of what each behaviour is, buy, look or review; 0 where a source shows one kind.",
    )
    sequence_behaviour_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="Tower: weight of the loss of what most of a sequence's second half is; 0: not learnt."
    )
    balance_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="Weight of KL(a user's own decayed shares ‖ prediction), which keeps predictions balanced; 0: none."
    )
    weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="uncertainty: the weights of the losses are learnt too, from those given on (Kendall et al. 2018)."
    )
    task_adapter_width: Annotated[int, Field(ge=0)] = Field(
        0, description="Units of a small network of each head's own between the vector and the head; 0: none."
    )
    pretraining: Literal["none", "masked", "contrastive", "both", "categories"] = Field(
        "none",
        description="What the encoder learns from the shop's item texts before fine-tuning: to fill in words, what is bought together, what a text's category is called.",
    )
    pretraining_steps: Count = Field(300, description="Steps of pre-training; the best by held-out pairs is kept.")
    pretraining_rate: Positive = Field(2e-5, description="Peak learning rate of pre-training, of all of the encoder's weights.")
    pretraining_batch: Count = Field(64, description="Pairs, and texts with masked words, per step of pre-training.")
    pretraining_mask_share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.15, description="masked, both: share of the words that are to be filled in."
    )
    pretraining_temperature: Positive = Field(0.05, description="contrastive, both: cosines are divided by it.")
    pretraining_pull: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Weight of 1 − cosine to the untouched encoder's vectors; too little, and near duplicates drift apart."
    )
    pretraining_days: Annotated[int, Field(ge=0, le=31)] = Field(
        0, description="contrastive, both: days between purchases of a user that count as together; 0: the same day."
    )
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Part of the category shares and of the value class that is dealt out evenly in training."
    )
    value_loss: Literal["cross_entropy", "squared"] = Field(
        "cross_entropy",
        description="squared: error of the expected grade, for classes that are steps of one thing, as ratings are.",
    )
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0,
        description="Decay per step of a running mean of the weights, which is judged and published; 0: the weights themselves.",
    )
    adversarial: Literal["none", "fgm", "pgd"] = Field(
        "none", description="Trains also on word embeddings moved to where the loss is high."
    )
    adversarial_epsilon: Positive = Field(0.02, description="How far, in parts of the norm of a text's embeddings.")
    adversarial_steps: Count = Field(3, description="pgd: steps of the attack.")
    adversarial_weight: Positive = Field(1.0, description="Weight of the loss under attack beside the clean one.")
    attack_report: bool = Field(
        False, description="Accuracy under both attacks on the validation examples, in the model's metrics."
    )
    token_dropout: Share = Field(0.0, description="Chance of each word of a training text to be left out.")
    span_deletion: Share = Field(0.0, description="Chance of a training text to lose a span.")
    attribute_shuffle: Share = Field(0.0, description="Chance of a training text to have its parts in another order.")
    synonym_share: Share = Field(0.0, description="Chance of each word with synonyms to be replaced by one.")
    synonyms_file: LocalFile = Field(
        "", description='TOML file of synonyms, such as beef = ["veal"]; from the settings file\'s folder.'
    )
    back_translation: Share = Field(0.0, description="Chance of a training text to be translated there and back.")
    back_translation_models: Annotated[tuple[str, ...], Place()] = Field(
        (), description="Two local Hugging Face directories of translation models, there and back."
    )
    wandb: bool = Field(False, description="Weights & Biases beside TensorBoard, offline, into the training's log folder.")
    files_per_rank: Count = Field(4, description="Row groups (one per file) that each rank streams.")
    warm_start: Literal["none", "current"] = Field(
        "none",
        description="current: what reads texts begins with the weights of the latest model that was promoted for an earlier as_of; not with pretraining.",
    )
    held_out_users: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of the users whom training and validation leave out, so that a model can be judged on them."
    )
    held_out_seed: Count = Field(1, description="Seed of who they are; the same users at every as_of and training seed.")
    training_cuts: Count = Field(8, description="Most recent cut dates, window boundaries, that give training examples.")
    checkpoint_every: Count = Field(50, description="Steps between checkpoints.")
    gate_metric: Literal["category", "visit", "value", "loss"] = Field(
        "category", description="Validation loss that decides on promotion; loss: the weighted sum that is trained on."
    )
    gate_tolerance_bits: Annotated[float, Field(ge=0.0)] = Field(
        0.0,
        description="Bits of loss per user that a model may be worse than CURRENT or its start: it is refused when the whole 95 % interval of the mean difference lies above.",
    )
    gate_examples: Count = Field(2048, description="Validation examples on which models are compared for promotion, at most.")

    @property
    def augments(self) -> bool:
        """Whether texts are changed in training."""
        return any((self.token_dropout, self.span_deletion, self.attribute_shuffle, self.synonym_share, self.back_translation))

    @model_validator(mode="after")
    def _parts_fit(self) -> Training:
        if self.synonym_share and not self.synonyms_file:
            raise ValueError(f"synonym_share = {self.synonym_share} needs synonyms_file; name one or set the share to 0")
        if bool(self.back_translation) != bool(self.back_translation_models) or len(self.back_translation_models) not in (0, 2):
            raise ValueError(
                f"back_translation = {self.back_translation} with {len(self.back_translation_models)} back_translation_models; "
                "expected a share above 0 and two models, or neither"
            )
        if self.activation_checkpointing and self.method == "prefix":
            raise ValueError(
                "activation_checkpointing does not go with method = 'prefix', whose keys and values would be dropped"
            )
        if self.warm_start == "current" and self.pretraining != "none":
            raise ValueError(
                f"warm_start = 'current' does not go with pretraining = {self.pretraining!r}: an encoder that goes on from an "
                "earlier model would not be the one that was pre-trained; set one of them to 'none'"
            )
        if self.sharded and (self.method in ("adalora", "prefix", "prompt") or self.precision == "float16" or self.ema_decay):
            raise ValueError(
                "sharded goes with method full, last_layers, frozen, lora and bottleneck, in bfloat16 or float32, and without ema_decay; "
                "change one of them"
            )
        return self
