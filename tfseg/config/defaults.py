"""Default values that a help text states and another room applies: each stands here once."""

PRETRAINED_LEARNING_RATE = 6e-5  # https://arxiv.org/abs/2105.15203, section 4.1
# SegFormer-B0 on shapes in batches of 8: mean IoU 0.64 after 500 steps, 0.85 after 1000.
SCRATCH_LEARNING_RATE = 1.5e-3
# A training from scratch on a small data set is too short to overfit.
SCRATCH_DROP_PATH_RATE = 0.0
WARMUP_DIVISOR = 20  # The learning-rate warm-up takes 1/20 of the training steps.
TRAIN_BATCH_SIZE = 8
EVAL_BATCH_SIZE = 16
DEFAULT_IGNORE_INDEX = 255  # The void value of ADE20K, Cityscapes and Pascal VOC masks.
SIZE_MULTIPLE = (
    32  # The coarsest feature map of SegFormer has 1/32 of the image's height and width.
)
CACHE_LIMIT_BYTES = 2 << 30  # `--cache=auto` keeps decoded examples in memory up to this size.
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
