"""The room of the command line: flags from configurations, and what every entry point needs.

Its door: `define_train_flags` and its like, `config_from_flags` and `run`.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__,
    define_train_flags="definitions",
    define_doctor_flags="definitions",
    define_eval_flags="definitions",
    define_predict_flags="definitions",
    define_export_flags="definitions",
    define_demo_flags="definitions",
    define_push_flags="definitions",
    config_from_flags="definitions",
    run="entry_point",
)
