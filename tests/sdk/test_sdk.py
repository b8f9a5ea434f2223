"""Amazon's Python SDK, unmodified, behind the gateway: its calls work, and it raises its usual exceptions.

Run by tests/sdk/run, which says in the environment where everything is.
"""
import json
import os
import time
import unittest

import spapi
import urllib3
from spapi.auth.credentials import SPAPIConfig
from spapi.client import SPAPIClient
from spapi.rest import ApiException

MARKETPLACE = "A1VC38T7YXB528"


def gateway_client():
    """What an application changes to go through the gateway: addresses and credentials, no code of the SDK's."""
    certs = os.environ["CERTS"]
    # The certificate by which the gateway knows this application, and the authority of the gateway's own.
    settings = spapi.Configuration()
    settings.ssl_ca_cert = f"{certs}/ca.pem"
    settings.cert_file = f"{certs}/clients/label-printer.pem"
    settings.key_file = f"{certs}/clients/label-printer.key"
    spapi.Configuration.set_default(settings)
    # The token exchange is another HTTP client inside the SDK: it takes REQUESTS_CA_BUNDLE from the
    # environment, and the gateway's token as the password of its URL ([token] basic).
    host = f"localhost:{os.environ['GATEWAY_PORT']}"
    return SPAPIClient(
        SPAPIConfig(
            client_id=os.environ["CLIENT_ID"],
            client_secret=os.environ["CLIENT_SECRET"],
            refresh_token=os.environ["REFRESH_TOKEN"],
        ),
        oauth_endpoint=f"https://sekisho:{os.environ['GATEWAY_TOKEN']}@{host}/auth/o2/token",
        endpoint=f"https://{host}",
    )


def lines():
    """The gateway's lines about requests. A line may follow its answer by some milliseconds."""
    time.sleep(0.3)
    with open(os.environ["ACCESS_LOG"], encoding="utf-8") as log:
        every = [json.loads(line) for line in log]
    return [line for line in every if line["event.dataset"] == "sekisho.access"]


class SdkBehindTheGateway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = gateway_client()
        cls.orders = spapi.OrdersV0Api(cls.client.api_client)
        cls.first = cls.orders.get_orders([MARKETPLACE]).payload.orders[0].amazon_order_id

    def refusal(self, call, *arguments):
        """The exception that the SDK raises, and the error of the envelope in it."""
        with self.assertRaises(ApiException) as raised:
            call(*arguments)
        error = raised.exception
        return error, json.loads(error.body)["errors"][0]

    def test_a_token_is_exchanged_and_orders_are_listed(self):
        orders = self.orders.get_orders([MARKETPLACE]).payload.orders
        self.assertGreater(len(orders), 10)
        self.assertTrue(all(order.amazon_order_id for order in orders))
        address = self.orders.get_order_address(self.first).payload.shipping_address
        self.assertTrue(address.name and address.postal_code)
        seen = lines()
        exchange = [line for line in seen if line.get("sekisho.operation") == "lwa/token"]
        self.assertTrue(exchange)
        for line in exchange:
            self.assertEqual((line["sekisho.proof"], line["user.name"]), ("token", "label-printer-login"))
        listed = [line for line in seen if line.get("sekisho.operation") == "orders/getOrders"]
        self.assertTrue(all(line["sekisho.proof"] == "certificate" for line in listed))
        self.assertTrue(all(line["user.name"] == "label-printer" for line in listed))

    def test_a_denied_operation_raises_what_amazon_s_refusal_would(self):
        raised, error = self.refusal(self.orders.get_order_buyer_info, self.first)
        self.assertEqual(raised.status, 403)
        self.assertEqual(raised.headers["x-amzn-ErrorType"], "AccessDenied")
        self.assertEqual(error["code"], "Sekisho.OperationNotGranted")
        self.assertIn("label-printer has no role that grants orders/getOrderBuyerInfo", error["message"])
        self.assertIn(raised.headers["x-sekisho-request-id"], error["details"])

    def test_amazon_s_throttling_comes_through_as_it_is(self):
        sellers = spapi.SellersApi(self.client.api_client)
        raised, error = self.refusal(sellers.get_marketplace_participations)
        self.assertEqual(raised.status, 429)
        self.assertEqual(error["code"], "QuotaExceeded")
        self.assertEqual(lines()[-1]["event.outcome"], "allowed", "the gateway let it pass")

    def test_the_gateway_s_quota_is_waited_for(self):
        # The SDK's HTTP library honours Retry-After: the second call comes later, and succeeds.
        time.sleep(1.1)
        before = len(lines())
        self.orders.get_order_items(self.first)
        self.orders.get_order_items(self.first)
        outcomes = [line.get("sekisho.denial") for line in lines()[before:]]
        self.assertEqual(outcomes, [None, "QuotaExceeded", None])

    def test_the_gateway_s_quota_raises_the_usual_exception_where_nobody_waits(self):
        usual = urllib3.util.Retry.DEFAULT
        urllib3.util.Retry.DEFAULT = urllib3.util.Retry(3, respect_retry_after_header=False)
        self.addCleanup(setattr, urllib3.util.Retry, "DEFAULT", usual)
        orders = spapi.OrdersV0Api(gateway_client().api_client)
        time.sleep(1.1)
        orders.get_order_items(self.first)
        raised, error = self.refusal(orders.get_order_items, self.first)
        self.assertEqual(raised.status, 429)
        self.assertEqual(error["code"], "Sekisho.QuotaExceeded")
        self.assertIn("this limit is the gateway's, not Amazon's", error["message"])
        self.assertEqual(raised.headers["Retry-After"], "1")
        self.assertTrue(raised.headers["RateLimit"] and raised.headers["RateLimit-Policy"])

    def test_the_log_names_nobody(self):
        buyer = self.orders.get_order_address(self.first).payload.shipping_address
        lines()
        with open(os.environ["ACCESS_LOG"], encoding="utf-8") as log:
            text = log.read()
        for personal in [buyer.name, buyer.postal_code, self.first, "127.0.0.1", os.environ["GATEWAY_TOKEN"]]:
            self.assertNotIn(personal, text)


if __name__ == "__main__":
    unittest.main()
