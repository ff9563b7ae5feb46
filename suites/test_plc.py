"""The PLC behind the CPE: reads, guarded writes, and its reaction time over 5G (P-06)."""

import pytest

import hil


@pytest.mark.requirement("PLC-1")
@pytest.mark.needs(plc=1, cpe=1)
def test_plc_reacts_over_5g_as_over_a_wire(
    plc: hil.Plc, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Writing a value and reading the program's answer takes no longer than the line allows.

    Steps: exchange the planned number of values with the PLC over a cable, then over 5G.
    Verify: PLC-1: each loop over 5G within its bound, with the wire beside it.
    """
    requirement = targets["PLC-1"]
    wire = hil.reaction(plc, requirement, over="wire")
    radio = hil.reaction(plc, requirement, over="5g")
    judge.expect(radio, "PLC-1", against=wire)


@pytest.mark.needs(plc=1)
def test_plc_refuses_what_is_out_of_range(plc: hil.Plc) -> None:
    """A write outside a tag's range never reaches the PLC, and its outputs have a safe state.

    Steps: read the output; try to write beyond its range; write within it; go to the safe state.
    Verify: the refusal is UnsafeOperation, the tag keeps its value; the safe state is read back.
    """
    before = plc.read("output")["output"].value
    with pytest.raises(hil.UnsafeOperation):
        plc.write({"output": 5000})
    assert plc.read("output")["output"].value == before
    plc.write({"output": 100})
    assert plc.read("output")["output"].value == 100
    plc.safe_state()
    assert plc.read("output")["output"].value == 0
