"""Feast's online store filled with the scores of a file, by Feast's own means; run by an environment of its own.

    python fill.py DIR

DIR holds feature_store.yaml and customers.parquet: `customer_id`, `event_timestamp` and a column a feature.
"""

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

OF = {"i": Int64, "f": Float64}


def main(directory: Path) -> None:
    path = directory / "customers.parquet"
    frame = pd.read_parquet(path)
    features = frame.drop(columns=["customer_id", "event_timestamp"]).dtypes
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    scores = FeatureView(
        name="scores",
        entities=[customer],
        ttl=timedelta(0),
        schema=[Field(name=str(name), dtype=OF.get(kind.kind, String)) for name, kind in features.items()],
        source=FileSource(path=str(path), timestamp_field="event_timestamp"),
    )
    store = FeatureStore(repo_path=str(directory))
    store.apply([customer, scores])
    store.write_to_online_store("scores", frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
