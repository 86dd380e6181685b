%% Looks for the other nodes of a Deployment every five seconds and connects to them.
-module(peers).
-export([start/1]).

start([Service]) ->
    look(Service).

look(Service) ->
    %% Who is not found now may be found next time: nobody is left for not being told of.
    case inet_res:resolve(Service, in, srv) of
        {ok, Message} ->
            Records = [inet_dns:rr(Record, data) || Record <- inet_dns:msg(Message, anlist)],
            [net_kernel:connect_node(list_to_atom("peers@" ++ Host)) || {_, _, _, Host} <- Records];
        {error, Reason} ->
            io:format("~s: ~0p~n", [Service, Reason])
    end,
    io:format("~s is connected to ~0p~n", [node(), lists:sort(nodes())]),
    timer:sleep(5000),
    look(Service).
