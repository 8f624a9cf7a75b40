"""Data: batches of pictures and labels out of an LMDB database of Datum records.

Tops      data (batch_size, C, H, W); optional label (batch_size,)
Params    data_param { source: folder of the database  batch_size  backend: LMDB must be asked for (LevelDB,
          the default, is refused)  rand_skip = 0: starts up to this many records in
          force_encoded_color = false: decode to three channels }; `prefetch` changes nothing here
          transform_param { crop_size  mirror  mean_file | mean_value  scale  force_color | force_gray }
Gradient  none is needed
Errors    LevelDB, no database, no record, a record that is no Datum (setup); pictures of several sizes in one
          batch (forward)
Source    Caffe DataLayer. Needs the `lmdb` extra
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.core import Shape
from nst.layers.batch_source import BatchSource, Values
from nst.layers.sources.database import RecordReader, decode_datum
from nst.layers.sources.transformer import DataTransformer
from nst.proto import DataParameter


class Data(BatchSource):
    type = "Data"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.data_param
        if p.backend != DataParameter.LMDB:
            raise self.net_error(
                "Unknown database backend (got LEVELDB, expected LMDB). LevelDB is not supported: "
                "convert the pictures again with `nst convert-imageset`, which writes LMDB, and set "
                "backend: LMDB"
            )
        self.batch_size = self.positive("batch_size", p.batch_size)
        self.is_color: bool | None = True if p.force_encoded_color else None
        transform = self.param.transform_param
        rng = self.context.rng
        self.transformer = DataTransformer(transform, self.phase, rng, layer=self.name)
        if transform.force_color or transform.force_gray:
            self.is_color = transform.force_color
        self.reader = RecordReader(p.source, layer=self.name)
        first, _ = decode_datum(self.reader.peek(), self.is_color, layer=self.name)
        self.first_shape = self.transformer.out_shape(first.shape)
        if p.rand_skip:
            self.reader.skip(int(rng.words(1)[0]) % p.rand_skip)
        self.transformer.start(rng)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return self.tops_of((self.batch_size, *self.first_shape), self.batch_size)

    def next_batch(self) -> list[Values]:
        pictures, labels = [], []
        for _ in range(self.batch_size):
            picture, label = decode_datum(self.reader.next(), self.is_color, layer=self.name)
            pictures.append(self.transformer.transform(picture))
            labels.append(label)
        return [self.transformer.stack(pictures), np.asarray(labels, np.float32)]
