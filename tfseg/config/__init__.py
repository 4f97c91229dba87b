"""The room of configuration: every flag's meaning, default and checks, and configurations as files.

Its door: the configurations of the commands and the sections that they consist of.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__,
    DataConfig="sections",
    TrainDataConfig="train_data_section",
    ModelConfig="sections",
    TrainingConfig="training_sections",
    RunConfig="training_sections",
    HubConfig="hub_section",
    TrainConfig="commands",
    DoctorRunConfig="commands",
    DoctorConfig="commands",
    EvalRunConfig="commands",
    EvalConfig="commands",
    PredictConfig="commands",
    ExportConfig="commands",
    DemoConfig="commands",
    PushConfig="commands",
)
