import { expect, test } from "vitest";
import { hrefTo, routeOf } from "./router";

test("a link leads back to the page, id and query it was made from", () => {
  const route = routeOf(hrefTo("subject", "anna/ö?", { day: "2010-03-24" }));
  expect([route.name, route.id, route.query.get("day")]).toEqual(["subject", "anna/ö?", "2010-03-24"]);
});

test("no hash is the fleet, and a broken escape does not throw", () => {
  expect(routeOf("").name).toBe("");
  expect(routeOf("#/").name).toBe("");
  expect(routeOf("#/device/%E0%A4%A").id).toBe("%E0%A4%A");
});
