"""Whether the device computes what a CPU computes: laws, picks, resume."""

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from al_jax import campaign, data, models, posteriors, testing
from al_jax.acquisitions import acquire, bald, batchbald, core_set, top_k
from al_jax.campaign import Settings, store
from al_jax.likelihood import categorical
from al_jax.training import adam, training

REFERENCE = Path(__file__).with_name("reference.json")


def blobs(size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Three Gaussian blobs in the plane, with their labels."""
    labels = np.arange(size, dtype=np.int32) % 3
    centres = 3.0 * np.array([[0.0, 1.0], [0.9, -0.5], [-0.9, -0.5]])
    return (centres[labels] + np.random.default_rng(0).normal(size=(size, 2))).astype(np.float32), labels


def laws(**_: Any) -> dict[str, Any]:
    """The laws of three posteriors and three acquisitions, without the lowering for other platforms."""
    network, trained = models.MLP(3, (8,), 0.5), training(adam(1e-2), minibatch_size=8, steps=20)
    one = posteriors.point(network, categorical(), trained)
    found = {
        "mc_dropout": posteriors.mc_dropout(network, categorical(), trained),
        "ensemble": posteriors.ensemble(one, 3),
        "laplace": posteriors.laplace(network, categorical(), trained),
    }
    failed = {}
    checked = {name: (testing.check_posterior, (posterior, *blobs())) for name, posterior in found.items()}
    checked |= {
        name: (testing.check_acquisition, (acquisition,))
        for name, acquisition in {"bald": top_k(bald), "core_set": core_set(), "batchbald": batchbald(64)}.items()
    }
    for name, (check, arguments) in checked.items():
        try:
            check(*arguments, lowers=False)
        except AssertionError as error:
            failed[name] = str(error)[:300]
    tables = np.log(np.random.default_rng(0).dirichlet(np.full(10, 0.3), size=(20, 200, 20)))
    for number, table in enumerate(tables):  # BatchBALD begins with the row that BALD likes best
        first, best = (acquire(method, table, 3).indices[0] for method in (batchbald(64), top_k(bald)))
        if first != best:
            failed[f"batchbald, table {number}"] = f"first pick {first}, BALD's {best}"
    return {"checked": [*checked, "batchbald's first pick"], "failed": failed}


def chosen() -> dict[str, Any]:
    """Picks of two methods on a fixed table."""
    generator = np.random.default_rng(0)
    log_probs = np.log(generator.dirichlet(np.full(10, 0.3), size=(400, 20)))
    features = generator.normal(size=(400, 32))
    known = {"features": features, "labelled_features": features[:5] + 1}
    picks = {
        "batchbald": acquire(batchbald(2000), log_probs, 6),
        "core_set": acquire(core_set(), log_probs, 12, **known),
        "bald": acquire(top_k(bald), log_probs, 12),
    }
    return {n: {"rows": a.indices.tolist(), "scores": np.asarray(a.scores).tolist()} for n, a in picks.items()}


def picks(**_: Any) -> dict[str, Any]:
    """How many picks are a CPU's, and how far scores are from its."""
    reference, here = json.loads(REFERENCE.read_text()), chosen()
    found: dict[str, Any] = {}
    for name, of_cpu in reference.items():
        same = [a == b for a, b in zip(of_cpu["rows"], here[name]["rows"], strict=True)]
        worst = np.abs(np.subtract(of_cpu["scores"], here[name]["scores"])).max()
        found[name] = f"{sum(same)} of {len(same)} picks, scores within {worst:.1e}"
        if worst > 1e-3:
            found[f"{name} differs"] = here[name]
    return found


def write_reference() -> None:
    """Keep this machine's picks; it must be a CPU."""
    if jax.default_backend() != "cpu":
        raise SystemExit("error: the reference is a CPU's")
    REFERENCE.write_text(json.dumps(chosen()) + "\n")


def small_campaign() -> tuple[Any, ...]:
    """Digits, BALD, two seeds."""
    digits = data.load("digits")
    network = models.MLP(10, (32,), 0.5, mean=4.9, std=6.0)
    posterior = posteriors.mc_dropout(network, categorical(), training(steps=50))
    return posterior, top_k(bald), digits, Settings(seeds=2, max_labels=40, num_samples=10)


def resume(**_: Any) -> dict[str, Any]:
    """A campaign that ends after every round and is resumed, against one that does not; and again from the start."""
    whole = campaign.run(*small_campaign()).acquired
    again = campaign.run(*small_campaign()).acquired
    with tempfile.TemporaryDirectory() as folder:
        finished, starts = False, 0
        while not finished:
            opened = store.open_store(Path(folder) / "run", {"resume": 1}, resume=starts > 0)
            done = campaign.run(*small_campaign(), results=opened, max_hours=1e-9)
            finished, starts = done.finished, starts + 1
            assert opened.manager is not None
            opened.manager.close()
        resumed = done.acquired
    return {"starts": starts, "resumed is bitwise": resumed.equals(whole), "repeated is bitwise": again.equals(whole)}


def devices(**_: Any) -> dict[str, Any]:
    """Whether the number of devices changes a pick."""
    if jax.device_count() == 1:
        return {"devices": 1}
    one, every = (campaign.run(*small_campaign(), devices=jax.devices()[:n]).acquired for n in (1, None))
    return {"devices": jax.device_count(), "same": one.equals(every)}


def precision(**_: Any) -> dict[str, Any]:
    """Error of a product in full precision, as scores take it, and in the device's default."""
    a = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    exact = a.astype(np.float64) @ a
    errors = {p: float(np.abs(np.asarray(jnp.matmul(a, a, precision=p)) - exact).max()) for p in ("highest", "default")}
    return errors


STEPS = {"precision": precision, "laws": laws, "picks": picks, "resume": resume, "devices": devices}
