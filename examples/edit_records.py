"""Store records with missing values, change and delete some, add a column, and free the space."""

import tempfile

import numpy as np

import mmap_ninja as mn

with tempfile.TemporaryDirectory() as scratch:
    reviews = mn.RecordsMmap.create(
        f"{scratch}/reviews",
        columns={"text": mn.Text(), "stars": mn.Scalar(np.int8, nullable=True), "tags": mn.Json()},
    )
    reviews.append({"text": "good", "stars": 5, "tags": ["short"]})
    reviews.extend({"text": f"review {number}", "stars": number % 5 or None, "tags": []} for number in range(999))
    print(len(reviews), "reviews,", sum(stars is None for stars in reviews["stars"]), "without stars")

    try:
        reviews.append({"text": "bad", "stars": 300, "tags": []})
    except TypeError as error:
        print("refused:", str(error).partition(": ")[2].partition(";")[0])

    reviews[0] = {"text": "good, but too long", "stars": 4, "tags": ["edited"]}
    del reviews[500:]
    del reviews[[stars is None for stars in reviews["stars"]]]
    print(len(reviews), "reviews are left;", reviews.garbage, "bytes are of deleted ones")

    reviews.add_column("length", np.array([len(text) for text in reviews["text"]], dtype=np.int32))
    reviews.compact(order=np.argsort(reviews["length"], kind="stable")[::-1])
    print("after compact():", reviews.garbage, "bytes; the longest is now the first:")
    print(reviews[0])
