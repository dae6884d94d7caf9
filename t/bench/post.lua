-- What wrk does in the benchmark: it posts the body that is given behind the
-- URL, and says at the end whether something went wrong.  Answers that come
-- late do not count: it is stopped between its turns.

function init(args)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = args[1]
end


function done(summary)
    local e = summary.errors

    io.write("errors=", e.connect + e.read + e.write + e.status, "\n")
end
