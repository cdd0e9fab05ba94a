-- The hashes of customers, of each the texts of its fields with a NUL between; a null for who has none.
-- ARGV  1 prefix  2 customers' ids, packed: 100 at most, for nobody else is answered meanwhile.
-- One text a customer is what costs Redis and its client least; a field that is missing is empty.
local FIELDS = {
  'segment', 'segment_id', 'previous_segment', 'segment_since', 'cluster', 'rfm', 'predicted_demand',
  'predicted_demand_high', 'predicted_orders', 'p_buy', 'customer_value', 'orders', 'spend', 'average_order_value',
  'total_value', 'first_purchase_at', 'last_purchase_at', 'last_event_at', 'mean_days_between_orders',
  'expected_next_order_at', 'next_offers', 'source', 'demand_horizon_days', 'scored_at', 'model_version', 'schema',
}
local last, texts = #FIELDS, {}
for i, id in ipairs(cmsgpack.unpack(ARGV[2])) do
  local found = redis.call('HMGET', ARGV[1] .. ':customer:' .. id, unpack(FIELDS))
  if found[1] or found[last] then
    for j = 1, last do found[j] = found[j] or '' end
    texts[i] = table.concat(found, '\0')
  else
    texts[i] = false
  end
end
return texts
