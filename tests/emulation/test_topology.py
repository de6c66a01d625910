"""Addresses and routes of an experiment."""

from offload.emulation.experiment import Experiment, Link, Machine, Quality, Role
from offload.emulation.topology import addresses, first_hops


def machine(name: str) -> Machine:
    return Machine(name=name, role=Role.DEVICE, command=("true",), start_order=0)


def link(name: str, first: str, second: str) -> Link:
    return Link(name=name, ends=(first, second), forward=Quality(), backward=Quality())


def hops(names: str, *links: Link) -> dict[str, dict[str, str]]:
    found = first_hops(list(names), links)
    return {here: {there: hop.name for there, hop in ways.items()} for here, ways in found.items()}


def test_machines_have_addresses_in_the_order_of_the_file() -> None:
    machines = [machine("b"), machine("a")]
    experiment = Experiment(name="x", machines=machines, links=[], duration_s=1.0)
    assert addresses(experiment) == {"b": "10.213.0.1", "a": "10.213.0.2"}


def test_neighbours_reach_each_other_over_the_link_between_them() -> None:
    assert hops("ab", link("ab", "a", "b")) == {"a": {"b": "ab"}, "b": {"a": "ab"}}


def test_others_are_reached_by_way_of_those_in_between() -> None:
    chain = (link("ab", "a", "b"), link("cb", "c", "b"), link("cd", "c", "d"))
    assert hops("abcd", *chain)["a"] == {"b": "ab", "c": "ab", "d": "ab"}
    assert hops("abcd", *chain)["b"] == {"a": "ab", "c": "cb", "d": "cb"}


def test_a_way_of_fewer_links_is_preferred() -> None:
    ring = (link("ab", "a", "b"), link("bc", "b", "c"), link("cd", "c", "d"), link("da", "d", "a"))
    assert hops("abcd", *ring)["a"] == {"b": "ab", "c": "ab", "d": "da"}


def test_machines_without_a_way_between_them_have_no_route() -> None:
    assert hops("abc", link("ab", "a", "b"))["c"] == {}
