"""Makes tests/golden: the same three rows as pyarrow writes them. Made with pyarrow 26.0.1."""
import datetime as dt
import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent / "golden"
D = decimal.Decimal
point = pa.struct([("x", pa.int64()), ("y", pa.list_(pa.float64()))])
table = pa.table({
    "float": pa.array([1.5, None, -0.25], pa.float64()),
    "int": pa.array([2**53 + 1, None, -1], pa.int64()),
    "small": pa.array([-3, None, 7], pa.int16()),
    "flag": pa.array([True, None, False]),
    "name": pa.array(["Ada", None, ""]),
    "colour": pa.array(["red", None, "blue"]).dictionary_encode(),
    "day": pa.array([dt.date(2024, 2, 29), None, dt.date(1969, 12, 31)]),
    "time": pa.array([dt.datetime(2024, 2, 29, 12, 30), None, dt.datetime(1970, 1, 1)], pa.timestamp("us")),
    "price": pa.array([D("12.50"), None, D("-0.01")], pa.decimal128(10, 2)),
    "tags": pa.array([["a", 'b"'], None, []], pa.list_(pa.string())),
    "point": pa.array([{"x": 1, "y": [0.5, None]}, None, {"x": None, "y": []}], point),
    "nothing": pa.array([None, None, None], pa.null()),
})
for codec in ["snappy", "gzip", "lz4", "zstd"]:
    pq.write_table(table, OUT / f"{codec}.parquet", compression=codec)
pq.write_table(table, OUT / "plain.parquet", compression="none")
pq.write_table(table.slice(0, 0), OUT / "empty.parquet")
pq.write_table(pa.table({"x": [1.0], "blob": [b"\x00"]}), OUT / "bytes.parquet")
for name, codec in [("x.arrow", None), ("lz4.arrow", "lz4")]:
    with pa.ipc.new_file(OUT / name, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
