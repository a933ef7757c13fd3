"""What can be set about data, recipe and the two tasks. Plain dataclasses: no torch, no configuration library.

Fields of data sets and recipes have no defaults: their values live in conf/data/ and conf/recipe/, each written once.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DataSettings:
    """A data set and how its images are brought to the network's resolution."""

    name: str
    """What the data set is called in records and tables."""
    source: str
    """Which reader understands it: a key of `training.data.SOURCES`."""
    root: str | None
    """The folder that holds the files; None for a data set that comes with a Python package."""
    download: str | None
    """What to do where the files are missing, said in the error."""
    num_classes: int | None
    """None: the number of class folders, see `training.data.count_classes`."""
    train_images: int | None
    """How many training images the complete data set has; None where that is not known."""
    validation_images: int | None
    """How many validation images the complete data set has; None where that is not known."""
    resolution: int
    """Height and width in pixels of what the network sees, in training and validation."""
    crop_pct: float | None
    """Validation: the share of the resized shorter side that the centre crop keeps. None, in a configuration only: what
    the network's authors use, see `architectures.preprocessing`."""
    interpolation: str | None
    """`bilinear` or `bicubic`, wherever an image is resized. None as for `crop_pct`."""
    mean: tuple[float, float, float]
    """Per channel (red, green, blue), of pixel values between 0 and 1."""
    std: tuple[float, float, float]
    horizontal_flip: float
    """Probability of mirroring a training image; 0 where a mirrored image may be another class, as with digits."""
    decoder: str
    """What decodes JPEG files: `simplejpeg` or `pillow`; pixels are the same, speeds are not."""
    resizer: str
    """What resizes training images that are files: `torch`, or `pillow` as timm does; see `training.data.transform`."""
    max_corrupt_share: float
    """Up to this share of a split's images may be unreadable: named in the log, replaced by others in training, left
    out of the scores in validation. With more, the run fails."""
    workers: int
    """Processes that read and transform images. Data sets held in memory need none."""
    options: dict[str, Any] = field(default_factory=dict)
    """What else its source takes: the difficulty of a probe, see `training.data.probes`. Most sources take nothing."""


@dataclass
class RecipeSettings:
    """Everything about learning that is neither the network nor the data."""

    name: str
    epochs: int
    batch_size: int
    """Images per optimiser step, over all parts of an accumulated step."""
    accumulation: int
    """In how many parts, one after the other, a step's batch goes through the network.

    The gradient is the whole batch's; but batch norms see one part at a time, so that networks that have any learn
    something else with it. `TrainSettings.gradient_checkpointing` saves memory without that.
    """

    optimizer: str
    """A name that `timm.optim.list_optimizers()` knows."""
    optimizer_options: dict[str, Any]
    """What the optimiser takes beyond learning rate and weight decay, e.g. `betas`, `eps`, `momentum`."""
    weight_decay: float
    no_decay: list[str]
    """Parameters without weight decay, besides all 1-D parameters, biases, and those that the network itself exempts
    (`no_weight_decay()`): patterns for whole names, `*` for any characters. Each must match a parameter of the network,
    so a recipe for several networks leaves to these what only some of them have.
    """
    decay: list[str]
    """Likewise, parameters that decay even though they are 1-D or exempt, e.g. layer scales."""
    layer_decay: float | None
    """Factor on the learning rate from each layer to the one below it, layers as timm's `group_matcher`; None: 1."""
    clip_gradient_norm: float | None
    """Upper bound of the gradient's global L2 norm."""

    schedule: str
    """A key of `training.schedule.SCHEDULES`."""
    learning_rate: float
    """The peak, used as given: never rescaled by the batch size."""
    warmup_epochs: int
    warmup_learning_rate: float
    """Where the linear warm-up starts."""
    final_learning_rate: float
    """Where the schedule ends."""

    random_crop_scale: tuple[float, float]
    """Random resized crop: least and greatest share of the image's area."""
    random_crop_ratio: tuple[float, float]
    """Random resized crop: least and greatest width / height."""
    color_jitter: float
    """Brightness, contrast and saturation change by up to this share; inactive under `random_augment`."""
    random_augment: str | None
    """timm's notation, e.g. `rand-m9-mstd0.5-inc1`; see `training.data.random_augment.MEANINGS`."""
    random_erasing: float
    """Probability that a rectangle of a training image is replaced by noise, a value per pixel."""
    augmentation_repeats: int
    """How often an image comes, each time augmented anew, in an epoch that shows as many images fewer; 1: once."""
    mixup: float
    """Parameter of mixup's beta distribution; 0 is off."""
    cutmix: float
    """Parameter of CutMix's beta distribution; 0 is off."""
    mix_probability: float
    """Share of batches that are mixed at all."""
    cutmix_share: float
    """Share of mixed batches that get CutMix where mixup and CutMix are both on."""
    label_smoothing: float
    drop_path_rate: float | None
    """Stochastic depth of the last block; None: what is published for the network's variant."""
    sync_batch_norm: bool
    """Whether batch norms use the statistics of a step's images on all ranks, not of each rank's own."""
    ema_decay: float | None
    """Decay of the moving average of the weights, updated each step; None: no average is kept."""


@dataclass
class TrainSettings:
    """Task `train`: how the work is done. What is learned is decided by data and recipe, groups of their own.

    Attributes:
        compile: run the network through torch.compile.
        gradient_checkpointing: keep only the input of each block for backward, for less memory and more time. What is
            learned stays the same, except in timm's ResNets, whose batch norms then count every batch twice.
        checkpoint_epochs: a checkpoint after each so many epochs (and after the last).
        checkpoint_minutes: a checkpoint in the middle of an epoch when the last one is older; None: none there.
        kept_checkpoints: how many of the newest are kept, in case the last one is damaged.
        keep_trainer_state: keep them when the cell is completed, too; the weights are kept anyway.
        dry_run: only say what would be done: parameter groups, learning rates, memory, time.
        dry_run_images: images in the step that a dry run measures; None: 8, on a GPU all that share a forward pass.
    """

    name: str = "train"
    compile: bool = False
    gradient_checkpointing: bool = False
    checkpoint_epochs: int = 1
    checkpoint_minutes: float | None = 5.0
    kept_checkpoints: int = 2
    keep_trainer_state: bool = False
    dry_run: bool = False
    dry_run_images: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError naming the key, its value and the rule."""
        minutes, images = self.checkpoint_minutes, self.dry_run_images
        for key, holds, rule in (
            ("checkpoint_epochs", self.checkpoint_epochs >= 1, "must be at least 1"),
            ("checkpoint_minutes", minutes is None or minutes > 0, "must be null or positive"),
            ("kept_checkpoints", self.kept_checkpoints >= 1, "must be at least 1"),
            ("dry_run_images", images is None or images >= 2, "must be null or at least 2"),
        ):
            if not holds:
                raise ValueError(f"task.{key}={getattr(self, key)!r}: {rule}")


VALIDATION_BATCH_SIZE = 64
"""Images per forward pass, in the validation of each epoch and wherever nobody gives another."""
