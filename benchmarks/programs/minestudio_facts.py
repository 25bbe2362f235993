"""What MineStudio's converters left: bytes and frames by modality, and its episodes."""

import pickle
import sys
from pathlib import Path

import lmdb

from benchmarks.measure import answer


def main() -> None:
    num_bytes: dict[str, int] = {}
    num_frames: dict[str, int] = {}
    episodes: dict[str, int] = {}
    for modality in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        for part in modality.iterdir():
            with (
                lmdb.open(str(part), readonly=True, lock=False) as environment,
                environment.begin() as transaction,
            ):
                values = sum(len(value) for key, value in transaction.cursor() if not key.startswith(b"__"))
                # Pickles that the converter wrote just now.
                frames = pickle.loads(transaction.get(b"__num_total_frames__"))
                infos = pickle.loads(transaction.get(b"__chunk_infos__"))
            episodes |= {info["episode"]: info["num_frames"] for info in infos}
            num_bytes[modality.name] = num_bytes.get(modality.name, 0) + values
            num_frames[modality.name] = num_frames.get(modality.name, 0) + frames
    answer(num_bytes=num_bytes, num_frames=num_frames["image"], frames_by_modality=num_frames, episodes=episodes)


if __name__ == "__main__":
    main()
