"""Names, mask values and colours of the classes of well-known data sets, as plain data."""

from __future__ import annotations

# The 37 breeds of Oxford-IIIT Pet in the order of TFDS's feature `label`.
# https://www.tensorflow.org/datasets/catalog/oxford_iiit_pet
PET_BREEDS = (
    *("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle"),
    *("Bengal", "Birman", "Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau"),
    *("english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees"),
    *("havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon", "miniature_pinscher"),
    *("newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard"),
    *("samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx"),
    *("staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"),
)

# The 100 kinds of objects of SceneParse150's instance task; the mask value of the first is 1.
# https://github.com/CSAILVision/placeschallenge/tree/master/instancesegmentation
SCENE_PARSE_OBJECTS = (
    *("bed", "windowpane", "cabinet", "person", "door", "table", "curtain", "chair", "car"),
    *("painting", "sofa", "shelf", "mirror", "armchair", "seat", "fence", "desk", "wardrobe"),
    *("lamp", "bathtub", "railing", "cushion", "box", "column", "signboard", "chest of drawers"),
    *("counter", "sink", "fireplace", "refrigerator", "stairs", "case", "pool table", "pillow"),
    *("screen door", "bookcase", "coffee table", "toilet", "flower", "book", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat"),
    *("arcade machine", "bus", "towel", "light", "truck", "chandelier", "awning", "streetlight"),
    *("booth", "television receiver", "airplane", "apparel", "pole", "bannister", "ottoman"),
    *("bottle", "van", "ship", "fountain", "washer", "plaything", "stool", "barrel", "basket"),
    *("bag", "minibike", "oven", "ball", "food", "step", "trade name", "microwave", "pot"),
    *("animal", "bicycle", "dishwasher", "screen", "sculpture", "hood", "sconce", "vase"),
    *("traffic light", "tray", "ashcan", "fan", "plate", "monitor", "bulletin board"),
    *("radiator", "glass", "clock", "flag"),
)

# The 19 classes that Cityscapes scores: name, value in `gtFine_labelIds` masks, and colour.
# https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
