from tests.faults.children import killed, run, said, started, together

REACH = "from tasks.fault_injection import fault_point as reach; print('before', flush=True); reach('here'); print('after')"


def test_a_kill_point_kills_only_where_it_is_named() -> None:
    assert said(run(REACH)) == "before\nafter"
    assert said(run(REACH, kill_point="elsewhere")) == "before\nafter"
    done = run(REACH, kill_point="here")
    assert killed(done)
    assert done.stdout == "before\n"


def test_a_kill_point_is_read_when_it_is_reached() -> None:
    assert killed(run(f"import os; os.environ['PENSTOCK_KILL_POINT'] = 'here'; {REACH}"))


def test_warnings_are_errors_in_children() -> None:
    assert "UserWarning" in run("import warnings; warnings.warn('x')").stderr


def test_children_start_together() -> None:
    script = "import sys, time; print('ready', flush=True); input(); print(time.monotonic())"
    assert [done.returncode for done in together(script, [[], [], []])] == [0, 0, 0]


def test_no_child_outlives_its_block() -> None:
    with started("import time; print('up', flush=True); time.sleep(600)") as child:
        assert child.stdout
        assert child.stdout.readline() == "up\n"
    assert child.returncode == -9
