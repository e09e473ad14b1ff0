"""The transformer experiment at a size of seconds."""

from experiments.transformer.config import (
    Config,
    FinetuneSettings,
    LanguageSettings,
    MonitorSettings,
    NoiseSettings,
    PretrainSettings,
    Shape,
)

CONFIG = Config(
    seeds=2,
    evaluation=64,
    language=LanguageSettings(tokens=6),
    model=Shape(layers=1, width=8, heads=2, context=6),
    pretrain=PretrainSettings(learning_rate=0.01, warmup=5, batch=8, first=10, steps=90, budgets=3),
    finetune=FinetuneSettings(learning_rates=(1e-3, 1e-2), warmup=2, batch=8, steps=15),
    noise=NoiseSettings(absolute=(0.01, 0.1), relative=(0.1, 0.3), pairs=3),
    monitors=MonitorSettings(microbatches=8, sequences=16, probes=4, noise=0.1, lanczos=8),
)
