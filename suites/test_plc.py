"""The PLC behind the CPE: reads, guarded writes, and its reaction time over 5G (P-06)."""

import pytest

import hil


@pytest.mark.requirement("PLC-1")
@pytest.mark.needs(plc=1, cpe=1)
def test_plc_reacts_over_5g_as_over_a_wire(
    plc: hil.Plc, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Writing a value and reading the program's answer takes no longer than the line allows.

    Steps: exchange the profile's number of cycles with the PLC over 5G and over a cable.
    Verify: PLC-1: each loop within its bound; 5G and wire are reported beside each other.
    """
    requirement = targets["PLC-1"]
    wire = plc.reaction(over="wire", cycles=requirement.cycles)
    radio = plc.reaction(over="5g", cycles=requirement.cycles)
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
