import pytest

from tenant_security.wire import bridge_api as api

from .conftest import Desk


async def test_the_first_version_gives_the_default_tag_and_the_second_only_what_is_asked_for(desk: Desk) -> None:
    first = await desk.good("POST", "/1/tenants", {"id": "a", "name": "A", "tags": [7]})
    assert [tag["tagText"] for tag in first["tags"]] == ["default"]
    assert (first["emailSent"], first["archived"], first["tenantCreatedConfigs"]) == (False, False, False)
    assert first["createdBy"]["name"] == "bridge-1 for alice@acme.example"
    second = await desk.good("POST", "/2/tenants", {"id": "b", "name": "B"})
    assert second["tags"] == []
    tag = (await desk.good("POST", "/1/tags", {"tagText": "eu"}))["id"]
    third = await desk.good("POST", "/2/tenants", {"id": "c", "name": "C", "tags": [tag]})
    assert [each["id"] for each in third["tags"]] == [tag]


async def test_a_tenant_is_read_changed_and_removed(desk: Desk) -> None:
    await desk.tenant()
    found = await desk.good("GET", "/1/tenants/t-1")
    assert (found["name"], found["invited"], found["primaryKmsConfigId"]) == ("T-1", False, None)
    tag = (await desk.good("POST", "/1/tags", {"tagText": "eu"}))["id"]
    default = found["tags"][0]["id"]
    after = await desk.good(
        "PUT", "/1/tenants/t-1", {"name": "New", "tagAdditions": [tag], "tagRemovals": [default], "later": 1}
    )
    assert (after["name"], [each["id"] for each in after["tags"]]) == ("New", [tag])
    assert await desk.good("DELETE", "/1/tenants/t-1") == {"id": "t-1"}
    await desk.refused(404, "GET", "/1/tenants/t-1")


async def test_what_cannot_be_done_is_refused_as_documented(desk: Desk) -> None:
    await desk.tenant()
    await desk.refused(422, "POST", "/1/tenants", {"id": "t-1", "name": "again"})
    await desk.refused(400, "POST", "/2/tenants", {"id": "t-2", "name": "x", "tags": [999]})
    await desk.refused(400, "PUT", "/1/tenants/nobody", {"name": "x"})
    await desk.refused(400, "PUT", "/1/tenants/t-1", {"tagAdditions": [999]})
    await desk.refused(422, "DELETE", "/1/tenants/nobody")
    await desk.refused(422, "POST", "/1/tenants/nobody/invite", {"tenantAdminEmail": "a@b.example"})
    await desk.world.with_config("t-1")
    assert "configs of its own" in await desk.refused(422, "DELETE", "/1/tenants/t-1")


@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"id": "", "name": "x"}, {"id": 7, "name": "x"}, [], "x", None])
async def test_a_body_that_is_not_a_tenant_is_refused(desk: Desk, body: object) -> None:
    assert await desk.refused(400, "POST", "/1/tenants", body)


async def test_tenants_are_listed_in_pages_searched_and_sorted(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.tenant(name)
    page = await desk.good("GET", "/1/tenants?sortColumn=id&sortDirection=asc&pageSize=2&page=2")
    assert ([each["id"] for each in page["result"]], page["page"], page["totalPages"]) == (["c"], 2, 2)
    assert [each["id"] for each in (await desk.good("GET", "/1/tenants?query=B"))["result"]] == ["b"]
    assert (await desk.good("GET", "/1/tenants?status=accepted"))["result"] == []
    assert len((await desk.good("GET", "/1/tenants?status=not-accepted"))["result"]) == 3
    assert (await desk.good("GET", "/1/tenants?status=archived"))["result"] == []
    for wrong in ("page=0", "pageSize=0", "sortColumn=x", "status=x"):
        await desk.refused(400, "GET", f"/1/tenants?{wrong}")


async def test_ids_that_need_escaping_are_found_again(desk: Desk) -> None:
    name = "a:b c?d#é%2B"
    await desk.tenant(name)
    from urllib.parse import quote

    import yarl

    path = yarl.URL(f"{desk.base}/api/1/tenants/{quote(name, safe='')}", encoded=True)
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(path, headers=desk.headers) as response:
        assert (await response.json())["id"] == name
    await desk.refused(400, "POST", "/1/tenants", {"id": "a/b", "name": "x"})


async def test_tags_are_made_given_and_taken(desk: Desk) -> None:
    for name in ("a", "b"):
        await desk.tenant(name)
    tag = await desk.good("POST", "/1/tags", {"tagText": "eu"})
    assert (tag["tagText"], tag["default"]) == ("eu", False)
    await desk.refused(422, "POST", "/1/tags", {"tagText": "eu"})
    for text in ("ÄÖ%_\\ß", "İ", "日本"):
        assert (await desk.good("POST", "/1/tags", {"tagText": text}))["tagText"] == text
        assert len((await desk.good("GET", "/1/tags", params={"tagText": text}))["result"]) == 1
    outcome = await desk.good("POST", f"/1/tags/{tag['id']}/tenants", {"tenantIds": ["a", "nobody", "b"]})
    assert outcome["succeeded"] == ["a", "b"]
    assert [each["tenantId"] for each in outcome["failed"]] == ["nobody"]
    assert "eu" in {each["tagText"] for each in (await desk.good("GET", "/1/tenants/a"))["tags"]}
    taken = await desk.good("DELETE", f"/1/tags/{tag['id']}/tenants", {"tenantIds": ["a"]})
    assert taken == {"succeeded": ["a"], "failed": []}
    assert "eu" not in {each["tagText"] for each in (await desk.good("GET", "/1/tenants/a"))["tags"]}
    for method in ("POST", "DELETE"):
        await desk.refused(400, method, "/1/tags/999/tenants", {"tenantIds": ["a"]})
    await desk.refused(400, "DELETE", f"/1/tags/{tag['id']}/tenants")
    listed = await desk.good("GET", "/1/tags?tagText=e&pageSize=1")
    assert (len(listed["result"]), listed["totalPages"]) == (1, 2)


async def test_words_that_say_what_a_service_is_are_no_tags_for_tenants(desk: Desk) -> None:
    assert "choose another" in await desk.refused(422, "POST", "/1/tags", {"tagText": "bridge"})


def test_times_are_written_and_read_alike() -> None:
    for at_ms in (0, 1_642_110_283_653, 1_800_000_000_000):
        assert api.milliseconds(api.rfc3339(at_ms)) == at_ms
    assert api.milliseconds("2022-01-13T22:44:43.653+01:00") == api.milliseconds("2022-01-13T21:44:43.653")
