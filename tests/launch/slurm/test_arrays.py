"""Arrays are as long as the cluster allows, each job is in one of them, and no more run at once than were asked for."""

import pytest

from launch.slurm.arrays import split, tasks
from launch.slurm.limits import Limits, parse_array_limit, parse_submit_limit
from launch.submission import pack


def sizes(arrays):
    return [len(array.jobs) for array in arrays]


def test_every_cell_is_in_one_job():
    cells = [str(number) for number in range(10)]
    jobs = pack(cells, 4)
    assert [len(job) for job in jobs] == [4, 4, 2]
    assert [cell for job in jobs for cell in job] == cells


@pytest.mark.parametrize(
    ("count", "array", "expected"), [(5, 5, [5]), (6, 5, [3, 3]), (2100, 1001, [700, 700, 700]), (0, 5, [])]
)
def test_arrays_are_split_at_the_clusters_limit(count, array, expected):
    jobs = pack([str(number) for number in range(count)], 1)
    arrays = split(jobs, Limits(array), parallel=None)
    assert sizes(arrays) == expected
    assert [job for part in arrays for job in part.jobs] == list(jobs)


def test_what_there_is_no_room_for_is_not_submitted():
    jobs = pack([str(number) for number in range(100)], 1)
    # One place stays free for the job that submits the next ones when it ends.
    assert sizes(split(jobs, Limits(30, submit=50, queued=10), parallel=None)) == [19, 20]
    assert sizes(split(jobs, Limits(30, submit=50, queued=10), parallel=None, within_job=True)) == [20, 20]
    assert sizes(split(jobs, Limits(100, submit=100), parallel=None)) == [100]
    assert sizes(split(jobs, Limits(100, submit=1), parallel=None)) == [1]
    assert split(jobs, Limits(30, submit=50, queued=60), parallel=None) == []


@pytest.mark.parametrize("parallel", [1, 2, 3, 7, 100])
def test_arrays_together_run_no_more_jobs_than_asked_for(parallel):
    arrays = split(pack([str(number) for number in range(23)], 1), Limits(5), parallel)
    assert sizes(arrays) == [4, 5, 4, 5, 5]
    # Of the arrays that wait for one another, only one runs.
    first = [array for array in arrays if array.after is None]
    assert sum(array.throttle for array in first) == max(parallel, len(first))
    assert len(first) == min(parallel, len(arrays))
    for number, array in enumerate(arrays):
        if array.after is not None:
            assert array.after < number
            assert array.throttle == arrays[array.after].throttle


def test_one_process_a_gpu(settings):
    assert tasks(settings(nodes=2, gpus_per_node=8)) == 16
    assert tasks(settings(nodes=2)) == 2
    assert tasks(settings(nodes=2, tasks_per_node=3)) == 6
    assert tasks(settings(gpus_per_node=4, packing="gpus")) == 4


def test_limits_are_read_from_the_controllers_configuration():
    text = "MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=2,max_array_tasks=500\n"
    assert parse_array_limit(text) == 500
    assert parse_array_limit("MaxArraySize            = 5\nMaxJobCount = 10000\n") == 5


@pytest.mark.parametrize(
    ("associations", "qualities", "account", "qos", "expected"),
    [
        ("lab||||", "normal||", None, None, None),
        ("lab|200||normal|", "normal||", None, None, 200),
        ("lab|200|||", "normal|7|\nshort|40|", None, None, 7),
        ("lab|200||normal|\nother|50||normal|", "normal||", None, None, 50),
        ("lab|200||normal|\nother|50||normal|", "normal||", "lab", None, 200),
        ("lab|200|80|normal|", "normal||", "lab", None, 80),
        ("lab|200||normal,short|short", "normal|7|\nshort|40|", None, None, 40),
        ("lab|200||normal,short|short", "normal|7|\nshort|40|", None, "normal", 7),
    ],
)
def test_limits_are_read_from_the_associations(associations, qualities, account, qos, expected):
    assert parse_submit_limit(associations, qualities, account, qos) == expected
